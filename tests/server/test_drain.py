"""The runs of a worker that is stopped."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.conftest import Serve
from tests.server.servers import DEADLINE
from tests.server.servers import Server
from tests.server.servers import wait_for
from tests.server.wire import Stream
from tests.server.wire import end_of

pytestmark = pytest.mark.server

BOTH = pytest.mark.parametrize("kind", ["gevent", "gthread"])
BOTH_AT_NIGHT = pytest.mark.parametrize(
    "kind", ["gevent", pytest.param("gthread", marks=pytest.mark.nightly)]
)
PLAIN_SECONDS = 3.0
"""gevent's worker looks for its arbiter once a second; on a busy machine it looks late."""


@pytest.fixture
def kind() -> str:
    return "gevent"


@pytest.fixture
def server(kind: str, tmp_path: Path) -> Iterator[Server]:
    server = Server(kind, tmp_path / "facts.jsonl", APP_AISTREAM_DRAIN_SECONDS=1.5)
    server.wait_ready()
    yield server
    server.stop()


@BOTH
def test_a_run_that_cannot_finish_in_time_ends_as_interrupted(server: Server) -> None:
    stream = Stream(server.url, "/ai/silent-async", {"prompt": "?"})
    stream.until("Well,")
    server.leave()
    _, frames = stream.rest()
    assert end_of(frames) == "interrupted"
    assert server.wait_fact("closed", stream.run)
    assert server.wait_fact("ended", stream.run)["outcome"] == "Interrupted"
    server.stop()
    assert len(server.facts("ended", stream.run)) == 1


@BOTH_AT_NIGHT
def test_a_run_that_can_finish_in_time_does_with_its_reader(server: Server) -> None:
    stream = Stream(server.url, "/ai/count", {"prompt": "?", "n": 50, "pause": 0.01})
    stream.until("1 ")
    server.leave()
    text, frames = stream.rest()
    assert text.endswith("49 ")
    assert end_of(frames) == "stop"


@BOTH_AT_NIGHT
def test_a_run_without_readers_finishes_before_the_worker_exits(server: Server) -> None:
    stream = Stream(server.url, "/ai/count", {"prompt": "?", "n": 50, "pause": 0.01})
    stream.until("1 ")
    stream.reset()
    server.leave()
    ended = server.wait_fact("ended", stream.run)
    assert ended["outcome"] == "Finished"
    assert ended["text"].endswith("49 ")


@BOTH
def test_ctrl_c_ends_runs_at_once_and_without_noise(server: Server) -> None:
    stream = Stream(server.url, "/ai/silent-async", {"prompt": "?"})
    stream.until("Well,")
    server.press_ctrl_c()
    assert server.wait_fact("ended", stream.run)["outcome"] == "Interrupted"
    server.process.wait(DEADLINE)
    # From Python 3.13 on, gevent lets the second Ctrl-C exit "on threading shutdown", whatever the application.
    assert "Exception ignored in" not in server.output()
    assert len(server.facts("ended", stream.run)) == 1


def test_a_run_may_take_longer_than_the_worker_may_be_silent(serve: Serve) -> None:
    server = serve("gevent", options=("--timeout", "2", "--graceful-timeout", "10"))
    stream = Stream(server.url, "/ai/count", {"prompt": "?", "n": 120, "pause": 0.05})
    stream.until("1 ")
    stream.reset()
    os.kill(server.wait_fact("called", stream.run)["pid"], signal.SIGTERM)
    assert server.wait_fact("ended", stream.run)["outcome"] == "Finished"
    assert "TIMEOUT" not in server.output()


def test_a_killed_arbiter_leaves_its_port_free_while_runs_finish(serve: Serve) -> None:
    """The supervisor's next gunicorn binds it as soon as it could without us."""
    server = serve("gevent", NAME="killed arbiter", options=("--graceful-timeout", "20"))
    stream = Stream(server.url, "/ai/count", {"prompt": "?", "n": 100, "pause": 0.05})
    stream.until("1 ")
    os.kill(server.process.pid, signal.SIGKILL)
    wait_for(lambda: can_bind(server.port), "the port", PLAIN_SECONDS)
    text, frames = stream.rest()
    assert text.endswith("99 ")
    assert end_of(frames) == "stop"


def can_bind(port: int) -> bool:
    """As gunicorn does it."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen()
        except OSError:
            return False
        return True


@BOTH_AT_NIGHT
def test_new_code_is_not_held_up_by_old_runs(serve: Serve, kind: str, tmp_path: Path) -> None:
    """``--reload`` starts the next worker when this one is gone."""
    code = tmp_path / "code.py"
    code.touch()
    server = serve(kind, options=("--reload", "--reload-extra-file", str(code)))
    stream = Stream(server.url, "/ai/silent-async", {"prompt": "?"})
    stream.until("Well,")
    later = itertools.count(time.time() + 10)  # Whatever the file system's clock shows.

    def seen() -> bool:
        # Once is not enough: what changes before gunicorn has first looked is not new.
        moment = next(later)
        os.utime(code, (moment, moment))
        return "Worker reloading" in server.output()

    wait_for(seen, "gunicorn to see the change")
    assert end_of(stream.rest()[1]) == "interrupted"
    assert server.wait_fact("ended", stream.run)["outcome"] == "Interrupted"

    def answered() -> bool:
        # The old worker still accepts for a moment, to say 503.
        return Stream(server.url, "/ai/count", {"prompt": "?", "n": 3}).rest()[0] == "0 1 2 "

    wait_for(answered, "an answer")
