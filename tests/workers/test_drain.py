"""A worker leaves: its readers move to another one, its runs finish, and no token is lost."""

from __future__ import annotations

import os
import signal
import typing as t
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.server.servers import is_busy
from tests.server.servers import wait_for
from tests.server.wire import Stream
from tests.workers.conftest import Connect
from tests.workers.conftest import Serve
from tests.workers.follower import Follower
from tests.workers.workers import Workers

pytestmark = pytest.mark.server

GAP_SECONDS = 1.0
ASK = {"prompt": "?", "n": 150, "pause": 0.03}
WHOLE = "".join(f"{number} " for number in range(150))
TIMES = ("--graceful-timeout", "15")
# A recalled client is not a disconnected one.
DRAIN = {"APP_AISTREAM_DRAIN_SECONDS": 12, "APP_AISTREAM_DETACH_SECONDS": 0}
READERS = 4


Leave = Callable[[Workers, int], None]
"""Stop a server, or at least the worker of this pid."""


def hup(server: Workers, pid: int) -> None:
    server.process.send_signal(signal.SIGHUP)


def term_all(server: Workers, pid: int) -> None:
    server.leave()


def term_one(server: Workers, pid: int) -> None:
    os.kill(pid, signal.SIGTERM)


def ask_one_often(server: Workers, pid: int) -> None:
    with server.line(pid) as line:
        while line.headers["Connection"] != "close":
            line.call("/pid")


# More than the others have had: a worker that is up before them is asked again and again.
MANY = ("--max-requests", "1000")

LEAVINGS: list[t.Any] = [
    pytest.param("gevent", "sqlite", (), hup, id="gevent-hup"),
    pytest.param("gthread", "sqlite", (), hup, id="gthread-hup"),
    pytest.param("gevent", "redis", (), hup, id="redis-hup", marks=pytest.mark.nightly),
    pytest.param(
        "gevent", "sqlite", ("--preload",), hup, id="preload-hup", marks=pytest.mark.nightly
    ),
    pytest.param("gevent", "sqlite", (), term_one, id="term-of-one"),
    pytest.param(
        "gevent", "sqlite", MANY, ask_one_often, id="max-requests", marks=pytest.mark.nightly
    ),
]


@pytest.mark.parametrize(("kind", "store", "options", "leave"), LEAVINGS)
def test_readers_move_and_runs_finish_in_the_old_worker(
    serve: Serve,
    kind: str,
    store: str,
    options: tuple[str, ...],
    leave: Leave,
    tmp_path: Path,
) -> None:
    server = serve(kind, 2, store, options=(*TIMES, *options), **DRAIN)
    enough = tmp_path / "enough"
    readers = begun(server, n=2000, until=enough)
    here = readers[0].pids[0]
    leave(server, here)
    moving = [reader for reader in readers if leave is hup or reader.pids[0] == here]
    wait_for(lambda: all(reader.moved for reader in moving), "them to move")
    enough.touch()
    for reader in readers:
        ended = server.wait_fact("ended", reader.finish().run_id)
        assert (reader.text, reader.reason) == (ended["text"], "stop")
        assert (ended["pid"], ended["outcome"]) == (reader.pids[0], "Finished")
    # Directly to a worker that stays: no reader is sent from one leaving worker to the next.
    assert max(len(reader.pids) for reader in readers) == 2
    assert is_busy() or max(reader.gap for reader in readers) < GAP_SECONDS


STAYING: list[t.Any] = [
    pytest.param(2, "sqlite", (), term_all, id="nobody to come back to"),
    pytest.param(
        1,
        "sqlite",
        ("--max-requests", "10"),
        ask_one_often,
        id="nobody yet",
        marks=pytest.mark.nightly,
    ),
    pytest.param(2, None, (), hup, id="nobody else knows the run", marks=pytest.mark.nightly),
]


@pytest.mark.parametrize(("count", "store", "options", "leave"), STAYING)
def test_readers_stay_if_no_other_worker_can_serve_them(
    serve: Serve, count: int, store: str | None, options: tuple[str, ...], leave: Leave
) -> None:
    config = DRAIN if store else {"APP_AISTREAM_STORE": "memory://", **DRAIN}
    server = serve("gevent", count, store, options=(*TIMES, *options), fresh=True, **config)
    readers = begun(server)
    leave(server, readers[0].pids[0])
    told = [(reader.finish().text, len(reader.pids)) for reader in readers]
    assert told == [(WHOLE, 1)] * READERS


def test_a_leaving_worker_keeps_only_connections_that_cannot_move(
    serve: Serve, connect: Connect, tmp_path: Path
) -> None:
    server = serve("gevent", 2, "sqlite", options=TIMES, **DRAIN)
    here = server.pids()[0]
    moving, staying, resuming, starting = (connect(server, here) for _ in range(4))
    enough = tmp_path / "enough"
    ask = {**ASK, "n": 2000, "until": str(enough)}
    staying.stream("/ai/count/text", ask)
    moving.stream("/ai/count", ask).text("20 ")
    hup(server, here)
    moving.text()
    assert moving.reason() is None
    last = moving.frames[-1].id
    assert last is not None
    # Connections that were open before still lead here.
    resuming.stream("/ai/count", Last_Event_ID=last).text()
    assert resuming.headers["Connection"] == "close"
    assert all(frame.event is None for frame in resuming.frames)
    assert starting.call("/ai/count", ASK)["error"]["code"] == "unavailable"
    assert (starting.status, starting.headers["Connection"]) == (503, "close")
    assert int(starting.headers["Retry-After"]) >= 1
    enough.touch()
    assert staying.raw().decode().startswith("0 1 ")
    assert server.wait_fact("ended", staying.run)["outcome"] == "Finished"


@pytest.mark.parametrize("kind", ["gevent", pytest.param("gthread", marks=pytest.mark.nightly)])
def test_no_request_is_refused_while_workers_are_replaced(serve: Serve, kind: str) -> None:
    server = serve(kind, 2, "sqlite", options=TIMES, **DRAIN)
    old = server.pids()
    hup(server, old[0])
    answered_by_new = 0
    while answered_by_new < 20:
        asked = Stream(server.url, "/ai/say", {"prompt": "?", "texts": ["a"]})
        assert (asked.status, asked.rest()[0]) == (200, "a")
        asked.leave()
        answered_by_new += int(asked.response.headers["X-Pid"]) not in old


def begun(server: Workers, **ask: t.Any) -> list[Follower]:
    """Some readers, each of a run that has begun."""
    server.pids()
    path = f"/ai/count?{urlencode({**ASK, **ask})}"
    readers = [Follower(server.url, path) for _ in range(READERS)]
    for reader in readers:
        reader.until("20 ")
    return readers
