"""gunicorn's sync worker: one request at a time, and killed if that takes too long."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.servers import Server
from tests.server.wire import Stream
from tests.server.wire import call
from tests.server.wire import end_of

pytestmark = pytest.mark.server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server("sync", tmp_path / "facts.jsonl", options=("--timeout", "3"))
    server.wait_ready()
    yield server
    server.stop()


def test_a_long_answer_is_split_into_responses_with_other_requests_between_them(
    server: Server,
) -> None:
    stream = Stream(server.url, "/ai/count", {"prompt": "?", "n": 40, "pause": 0.1})
    run = stream.run
    text, frames = stream.rest()
    pieces = 1
    while end_of(frames) is None:
        assert stream.raw.endswith(b"retry: 200\n")  # It was told to come back.
        assert call(server.url, "/ai/health") == (200, {"status": "ok"})
        stream = Stream(server.url, "/ai/count", Last_Event_ID=stream.cursor)
        more, frames = stream.rest()
        text, pieces = text + more, pieces + 1
    assert text == "".join(f"{number} " for number in range(40))
    assert pieces > 1
    assert len(server.facts("called", run)) == 1
    assert "WORKER TIMEOUT" not in server.output()
    assert "a sync worker" in server.output()
