"""A process that is killed takes nothing with it but the answer it was making."""

from __future__ import annotations

import time

import pytest

from tests.server.servers import wait_for
from tests.workers.conftest import Connect
from tests.workers.conftest import Serve

pytestmark = pytest.mark.server

NOTICE_SECONDS = 5.0


@pytest.mark.parametrize("kind", ["gevent", "gthread"])
def test_readers_of_a_killed_owner_learn_it_and_keep_what_was_said(
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
    assert ended["pid"] in (there, third)
    assert (ended["outcome"], ended["text"]) == ("Interrupted", texts[0])
