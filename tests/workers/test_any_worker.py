"""Any worker can do anything with any run."""

from __future__ import annotations

import threading
import time

import pytest

from tests.server.servers import is_busy
from tests.server.servers import wait_for
from tests.workers.conftest import Connect
from tests.workers.conftest import Serve
from tests.workers.workers import Workers

pytestmark = pytest.mark.server

STOP_SECONDS = 1.0
LOCKED_SECONDS = 0.5
SERVERS = [
    ("gevent", 3, "redis"),
    ("gthread", 2, "sqlite"),
    pytest.param(("gevent", 3, "sqlite"), marks=pytest.mark.nightly),
    pytest.param(("gthread", 2, "redis"), marks=pytest.mark.nightly),
]


@pytest.fixture(params=SERVERS, ids=lambda it: f"{it[0]}-{it[2]}")
def server(request: pytest.FixtureRequest, serve: Serve) -> Workers:
    return serve(*request.param)


@pytest.mark.parametrize("provider", ["silent", "silent-async"])
def test_a_run_started_here_is_read_there_and_stopped_from_elsewhere(
    server: Workers, connect: Connect, provider: str
) -> None:
    if server.kind == "gthread":  # Nothing ends a thread that sleeps.
        provider = "silent-async"
    here, there, *third = server.pids()
    started = connect(server, here).stream(f"/ai/{provider}", {"prompt": "?"})
    started.text("Well,")
    reading = connect(server, there).stream(f"/ai/runs/{started.run}/events")
    assert reading.text("Well,") == "Well,"
    stopper = connect(server, third[0] if third else there)
    asked = time.monotonic()
    answer = stopper.call(f"/ai/runs/{started.run}/stop", {})
    assert (answer["stopped"], answer["status"], answer["text"]) == (True, "stopped", "Well,")
    closed = server.wait_fact("closed", started.run)
    assert (closed["pid"], closed["at"] - asked < STOP_SECONDS) == (here, True)
    for reader in (started, reading):
        assert reader.text() == ""
        assert reader.reason() == "stopped"
    told(server, started.run, "Stopped", "Well,")


def test_a_reader_in_another_worker_misses_nothing(server: Workers, connect: Connect) -> None:
    here, there, *_ = server.pids()
    started = connect(server, here).stream("/ai/count", {"prompt": "?", "n": 300, "pause": 0.002})
    begun = started.text("9 ")
    reading = connect(server, there).stream(f"/ai/runs/{started.run}/events")
    # A connection that is lost, and found again elsewhere.
    started.close()
    last = started.frames[-1].id
    assert last is not None
    resumed = connect(server, there).stream("/ai/count", Last_Event_ID=last)
    whole = "".join(f"{number} " for number in range(300))
    assert reading.text() == whole
    assert begun + resumed.text() == whole
    assert (reading.reason(), resumed.reason()) == ("stop", "stop")
    told(server, started.run, "Finished", whole)


def test_a_key_starts_one_run_whichever_workers_are_asked(
    server: Workers, connect: Connect
) -> None:
    lines = [connect(server, pid) for pid in server.pids()[:2] for _ in range(2)]
    together = threading.Barrier(len(lines))

    def start(line_number: int) -> None:
        together.wait()
        lines[line_number].stream(
            "/ai/count",
            {"prompt": "?", "n": 20, "pause": 0.01},
            Idempotency_Key=f"key-{server.kind}-{server.port}",
        )

    threads = [threading.Thread(target=start, args=(n,)) for n in range(len(lines))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (run,) = {line.run for line in lines}
    assert len({line.text() for line in lines}) == 1
    assert len(server.facts("called", run)) == 1


@pytest.mark.parametrize("store", ["sqlite", pytest.param("redis", marks=pytest.mark.nightly)])
def test_a_reader_in_another_worker_keeps_a_run_alive(
    serve: Serve, store: str, connect: Connect
) -> None:
    server = serve("gevent", 2, store, APP_AISTREAM_DETACH_SECONDS=0)
    here, there = server.pids()
    started = connect(server, here).stream("/ai/count", {"prompt": "?", "n": 10000, "pause": 0.01})
    started.text("1 ")
    reading = connect(server, there).stream(f"/ai/runs/{started.run}/events")
    reading.text("30 ")  # More than was there when it came: it follows.
    started.close()
    # Longer than the owner would wait if nobody read it.
    reading.text("150 ")
    assert server.facts("ended", started.run) == []
    reading.close()
    assert server.wait_fact("ended", started.run)["outcome"] == "Stopped"


@pytest.mark.parametrize("store", ["sqlite", pytest.param("redis", marks=pytest.mark.nightly)])
def test_an_owner_is_counted_in_all_workers(serve: Serve, store: str, connect: Connect) -> None:
    server = serve("gevent", 2, store, APP_AISTREAM_MAX_RUNS_PER_OWNER=1)
    here, there = server.pids()
    first = connect(server, here).stream("/ai/silent", {"prompt": "?"}, X_User="ann")
    first.text("Well,")
    rejected = connect(server, there)
    answer = rejected.call("/ai/silent", {"prompt": "?"}, X_User="ann")
    assert (rejected.status, answer["error"]["code"]) == (429, "too_many_runs")
    other = connect(server, there)  # A rejected start may close its connection.
    other.call(f"/ai/runs/{first.run}/stop", {}, X_User="ann")
    assert other.stream("/ai/say", {"prompt": "?", "texts": ["a"]}, X_User="ann").text() == "a"


def test_other_requests_are_answered_while_the_file_is_locked(
    serve: Serve, connect: Connect
) -> None:
    server = serve("gevent", 2, "sqlite", APP_AISTREAM_DETACH_SECONDS=0)
    here, there = server.pids()
    started = connect(server, here).stream("/ai/count", {"prompt": "?", "n": 100, "pause": 0.01})
    reading = connect(server, there).stream(f"/ai/runs/{started.run}/events")
    reading.text("5 ")
    waits = []
    with server.locked():
        for _ in range(20):
            time.sleep(0.05)
            asked = time.monotonic()
            connect(server, here).call("/pid")
            waits.append(time.monotonic() - asked)
    assert max(waits) < LOCKED_SECONDS or is_busy()
    for reader in (started, reading):
        assert reader.text().endswith(" 99 ")
        assert reader.reason() == "stop"


def told(server: Workers, run: str, outcome: str, text: str) -> None:
    """The end of a run was announced once, in one process."""
    wait_for(lambda: bool(server.facts("ended", run)), "run_ended")
    (ended,) = server.facts("ended", run)
    assert (ended["outcome"], ended["text"]) == (outcome, text)
