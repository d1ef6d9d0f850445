"""``flask aistream providers``, ``routes`` and ``config``."""

from __future__ import annotations

import json
import typing as t

import pytest
from flask import Flask

from flask_aistream.cli import display
from flask_aistream.cli.group import group
from flask_aistream.web.config import KEYS
from tests.cli.conftest import Run
from tests.cli.conftest import make_app


def rows(run: Run, command: str) -> t.Any:
    return json.loads(run(command, "--json").stdout)


def test_providers_are_listed_with_their_urls(run: Run) -> None:
    listed = rows(run, "providers")
    assert [(row["provider"], row["url"]) for row in listed] == [
        ("chat", "/ai/chat"),
        ("broken", "/ai/broken"),
        ("slow", "/ai/slow"),
    ]
    assert listed[0]["function"].endswith("make_app.<locals>.chat")


def test_routes_are_those_of_the_blueprints_only(app: Flask, run: Run) -> None:
    app.add_url_rule("/own", view_func=lambda: "")
    paths = [row["path"] for row in rows(run, "routes")]
    assert "/ai/<provider>" in paths
    assert all(path.startswith("/ai/") for path in paths)


def test_config_tells_where_a_value_is_from_and_hides_passwords() -> None:
    app = make_app(AISTREAM_STORE="memory://", AISTREAM_MAX_RUNS=5)
    listed = {
        row["key"]: row
        for row in json.loads(app.test_cli_runner().invoke(group, ["config", "--json"]).stdout)
    }
    assert listed.keys() == {key.name for key in KEYS}
    assert listed["AISTREAM_MAX_RUNS"]["value"] == 5
    assert listed["AISTREAM_MAX_RUNS"]["from"] == "application"
    assert listed["AISTREAM_RETRY_SECONDS"]["from"] == "default"


@pytest.mark.parametrize("draw", [display.plain_table, display.rich_table])
def test_a_table_shows_every_cell(draw: t.Any, capsys: pytest.CaptureFixture[str]) -> None:
    draw([{"name": "a", "n": 1}, {"name": "[long]", "n": None}])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["name", "n"], ["a", "1"], ["[long]", "None"]]


def test_an_application_without_a_blueprint_is_told_how_to_register_one() -> None:
    result = Flask("bare").test_cli_runner().invoke(group, ["providers"])
    assert result.exit_code == 1
    assert "Register one: ai.init_app(app)." in result.stderr
