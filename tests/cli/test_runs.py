"""``flask aistream tail`` and ``stop``, on runs that another process executes."""

from __future__ import annotations

import json
import threading

import pytest

from flask_aistream.cli.group import group
from flask_aistream.core.events import Stopped
from flask_aistream.testing import StreamClient
from tests.cli.conftest import Run
from tests.cli.conftest import make_app


def test_a_run_of_another_process_is_followed_to_its_end(store: str, run: Run) -> None:
    other = make_app(AISTREAM_STORE=store)
    with StreamClient(other).open("/ai/slow", json={"prompt": "x"}) as stream:
        threading.Timer(0.2, other.config["GATE"].set).start()
        result = run("tail", stream.run)
        assert [event for event in stream if isinstance(event, str)] == ["One, ", "two."]
    assert result.stdout == "One, two."
    assert result.exit_code == 0


def test_a_run_of_another_process_is_stopped_once(store: str, run: Run) -> None:
    other = make_app(AISTREAM_STORE=store)
    with StreamClient(other).open("/ai/slow", json={"prompt": "x"}) as stream:
        assert run("stop", stream.run).stdout == f"Run {stream.run} is stopped.\n"
        assert run("stop", stream.run).stdout == f"Run {stream.run} had ended before.\n"
        assert isinstance(list(stream)[-1], Stopped)
    other.config["GATE"].set()


def test_the_beginning_of_an_id_names_a_run_if_no_other_has_it(store: str, run: Run) -> None:
    ids = [run("ask", "chat", "Hello").stderr.split()[1] for _ in range(2)]
    assert run("tail", ids[0][:10]).stdout == "You said Hello"
    result = run("tail", "")
    assert "2 runs begin with ''" in result.stderr
    assert result.exit_code == 1


def test_the_runs_of_all_processes_are_listed_the_newest_first(store: str, run: Run) -> None:
    other = make_app(AISTREAM_STORE=store)
    done = run("ask", "chat", "Hello").stderr.split()[1]
    with StreamClient(other).open("/ai/slow", json={"prompt": "x"}) as stream:
        listed = json.loads(run("runs", "--json").stdout)
        live = json.loads(run("runs", "--live", "--json").stdout)
        other.config["GATE"].set()
    assert [(row["run"], row["status"]) for row in listed] == [
        (stream.run, "running"),
        (done, "finished"),
    ]
    assert [row["run"] for row in live] == [stream.run]


@pytest.mark.parametrize("command", ["tail", "stop"])
def test_runs_in_the_memory_of_a_server_cannot_be_reached(command: str) -> None:
    app = make_app(AISTREAM_STORE="memory://")
    result = app.test_cli_runner().invoke(group, [command, "x"])
    assert "Set AISTREAM_STORE" in result.stderr
    assert result.exit_code == 1
