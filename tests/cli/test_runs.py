"""``flask aistream tail`` and ``stop``, on runs that another process executes."""

from __future__ import annotations

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


@pytest.mark.parametrize("command", ["tail", "stop"])
def test_runs_in_the_memory_of_a_server_cannot_be_reached(command: str) -> None:
    app = make_app(AISTREAM_STORE="memory://")
    result = app.test_cli_runner().invoke(group, [command, "x"])
    assert "Set AISTREAM_STORE" in result.stderr
    assert result.exit_code == 1
