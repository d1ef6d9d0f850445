"""A killed process loses only the answers it was making."""

from __future__ import annotations

import time

import pytest

from tests.server.servers import wait_for
from tests.workers.conftest import Connect
from tests.workers.conftest import Serve

pytestmark = pytest.mark.server

NOTICE_SECONDS = 5.0


@pytest.mark.parametrize(
    ("store", "stopped"),
    [
        ("sqlite", False),
        pytest.param("sqlite", True, marks=pytest.mark.nightly),
        pytest.param("redis", False, marks=pytest.mark.nightly),
        pytest.param("redis", True, marks=pytest.mark.nightly),
    ],
)
def test_an_end_whose_process_dies_before_delivery_is_delivered_by_another(
    serve: Serve, store: str, connect: Connect, stopped: bool
) -> None:
    server = serve("gevent", 3, store, NAME="speechless")
    here, there, third = server.pids()
    ask = {"prompt": "?", "pause": 20 if stopped else 0.5}
    reading = connect(server, there).stream("/ai/last-words", ask)
    dying = there
    if stopped:
        reading.text("Farewell.")
        dying = third
        assert connect(server, third).call(f"/ai/runs/{reading.run}/stop", {})["stopped"]
    assert server.wait_fact("dying", reading.run)["pid"] == dying
    told = server.wait_fact("ended", reading.run)
    assert (told["text"], told["outcome"]) == ("Farewell.", "Stopped" if stopped else "Finished")
    assert told["turn"] == ["?", "Farewell."]  # Question and answer, from the store.
    survivors = connect(server, here).stream("/ai/count", {"prompt": "?", "n": 150, "pause": 0.01})
    survivors.text("149 ")  # Time in which it could be told twice.
    assert len(server.facts("ended", reading.run)) == 1


@pytest.mark.parametrize(
    ("store", "kind"),
    [
        ("sqlite", "gevent"),
        pytest.param("redis", "gthread", marks=pytest.mark.nightly),
        pytest.param("sqlite", "gthread", marks=pytest.mark.nightly),
        pytest.param("redis", "gevent", marks=pytest.mark.nightly),
    ],
)
def test_readers_of_a_killed_owner_are_told_interrupted_and_keep_the_text(
    serve: Serve, store: str, connect: Connect, kind: str
) -> None:
    server = serve(kind, 3, store, NAME="killed")
    here, there, third = server.pids()
    ask = {"prompt": "?", "n": 100000, "pause": 0.005}
    lost = connect(server, here).stream("/ai/count", ask)
    lost.text("50 ")
    readers = [connect(server, pid).stream(f"/ai/runs/{lost.run}/events") for pid in (there, third)]
    begun = [reader.text("50 ") for reader in readers]
    unharmed = connect(server, there).stream("/ai/count", {"prompt": "?", "n": 500, "pause": 0.01})
    killed = time.monotonic()
    server.kill(here)
    rest = [reader.text() for reader in readers]
    assert time.monotonic() - killed < NOTICE_SECONDS
    assert [reader.reason() for reader in readers] == ["interrupted"] * 2
    texts = [start + end for start, end in zip(begun, rest, strict=True)]
    assert texts[0] == texts[1]
    wait_for(lambda: bool(server.facts("ended", lost.run)), "run_ended")
    unharmed.text("499 ")  # Time in which it could be told twice.
    (ended,) = server.facts("ended", lost.run)
    assert ended["pid"] != here  # One of the other two, or its replacement.
    assert (ended["outcome"], ended["text"]) == ("Interrupted", texts[0])


@pytest.mark.nightly
def test_a_worker_without_requests_delivers_the_end_of_a_killed_ones_run(
    serve: Serve, store: str, connect: Connect
) -> None:
    server = serve("gevent", 2, store, fresh=True)
    lost = connect(server, server.pids()[0]).stream("/ai/silent", {"prompt": "?"})
    lost.text("Well,")
    server.kill(lost.pid)
    ended = server.wait_fact("ended", lost.run, NOTICE_SECONDS)
    assert (ended["outcome"], ended["text"]) == ("Interrupted", "Well,")
