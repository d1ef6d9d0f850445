"""A worker is killed, or paused for so long that it counts as dead, and its runs go on elsewhere."""

from __future__ import annotations

import pytest

from tests.server.servers import wait_for
from tests.workers.conftest import Connect
from tests.workers.conftest import Serve

pytestmark = pytest.mark.server

COUNT = {"prompt": "?", "n": 400, "pause": 0.01}
WHOLE = "".join(f"{number} " for number in range(400))


@pytest.mark.parametrize("store", ["redis", pytest.param("sqlite", marks=pytest.mark.nightly)])
def test_a_run_continues_where_its_killed_worker_stopped(
    serve: Serve, store: str, connect: Connect
) -> None:
    server = serve("gevent", 3, store, NAME="restarted")
    here, there, third = server.pids()
    started = connect(server, here).stream("/ai/count-on", COUNT)
    started.text("50 ")
    readers = [
        connect(server, pid).stream(f"/ai/runs/{started.run}/events") for pid in (there, third)
    ]
    begun = [reader.text("60 ") for reader in readers]
    server.kill(here)
    texts = [start + reader.text() for start, reader in zip(begun, readers, strict=True)]
    assert texts == [WHOLE, WHOLE]
    assert [reader.reason() for reader in readers] == ["stop", "stop"]
    for reader in readers:
        ids = [int(frame.id.rpartition(":")[2]) for frame in reader.frames if frame.id]
        assert ids == list(range(len(ids)))
        assert [frame.event for frame in reader.frames].count("run") == 1
    first, second = server.facts("called", started.run)
    assert (first["restarts"], second["restarts"]) == (0, 1)
    assert WHOLE.startswith(second["so_far"])
    wait_for(lambda: bool(server.facts("ended", started.run)), "run_ended")
    (ended,) = server.facts("ended", started.run)
    assert (ended["outcome"], ended["text"], ended["pid"]) == ("Finished", WHOLE, second["pid"])


@pytest.mark.parametrize("store", ["sqlite", pytest.param("redis", marks=pytest.mark.nightly)])
def test_a_worker_that_was_paused_has_nothing_more_to_say(
    serve: Serve, store: str, connect: Connect
) -> None:
    server = serve("gevent", 3, store, NAME="paused")
    here, there, _ = server.pids()
    started = connect(server, here).stream("/ai/count-on", COUNT)
    mute = connect(server, here).stream("/ai/silent", {"prompt": "?"})
    mute.text("Well,")
    started.text("50 ")
    reading = connect(server, there).stream(f"/ai/runs/{started.run}/events")
    begun = reading.text("60 ")
    with server.paused(here):
        wait_for(lambda: len(server.facts("called", started.run)) == 2, "the run to be taken over")
    # Both providers work now, until the first one's learns that the run is not its own any more.
    assert started.text().startswith("51 ")
    assert begun + reading.text() == WHOLE
    assert (started.reason(), reading.reason()) == ("stop", "stop")
    texts = connect(server, here).call(f"/ai/runs/{started.run}")["text"]
    assert texts == WHOLE
    assert server.wait_fact("closed", mute.run)["pid"] == here
    wait_for(lambda: bool(server.facts("ended", started.run)), "run_ended")
    assert [it["text"] for it in server.facts("ended", started.run)] == [WHOLE]
    assert [it["outcome"] for it in server.facts("ended", mute.run)] == ["Interrupted"]


def test_a_provider_that_kills_its_worker_is_restarted_a_bounded_number_of_times(
    serve: Serve, connect: Connect
) -> None:
    server = serve("gevent", 2, "sqlite", NAME="kills", APP_AISTREAM_MAX_RESTARTS=1)
    started = connect(server, server.pids()[0]).stream("/ai/kills", {"prompt": "?"})

    wait_for(lambda: bool(server.facts("ended", started.run)), "run_ended")
    (ended,) = server.facts("ended", started.run)
    assert (ended["outcome"], ended["text"]) == ("Interrupted", "0 1 ")
    assert len(server.facts("called", started.run)) == 2
