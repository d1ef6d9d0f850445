"""A worker keeps places for other requests, however many streams and slow bodies there are."""

from __future__ import annotations

import contextlib
import socket
import types
import typing as t

import pytest

from flask_aistream.server import gunicorn
from flask_aistream.server import places as module
from flask_aistream.server.bodies import CROWDED_SECONDS
from flask_aistream.server.bodies import BodyReads
from flask_aistream.server.places import places
from flask_aistream.server.places import places_of_streams
from flask_aistream.timing.flush import FlushInterval
from flask_aistream.timing.timer import Timer
from tests.doubles import ManualClock
from tests.doubles import ManualConcurrency


@pytest.mark.parametrize(
    ("patched", "found", "streams"), [(True, 1000, 900), (False, 20, 18)], ids=["gevent", "gthread"]
)
def test_a_worker_of_gunicorn_keeps_a_tenth_of_its_places(
    monkeypatch: pytest.MonkeyPatch, patched: bool, found: int, streams: int
) -> None:
    cfg = types.SimpleNamespace(worker_connections=1000, threads=20)
    monkeypatch.setattr(gunicorn, "find_worker", lambda: types.SimpleNamespace(cfg=cfg))
    monkeypatch.setattr(module, "patched_by_gevent", lambda: patched)
    assert places() == found
    assert places_of_streams(places()) == streams


@pytest.mark.parametrize("count", range(2, 30))
def test_a_stream_and_another_request_find_a_place_in_every_worker(count: int) -> None:
    assert 1 <= t.cast(int, places_of_streams(count)) < count


def test_without_gunicorn_or_with_one_place_streams_have_no_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert places() is None
    assert places_of_streams(None) is None
    cfg = types.SimpleNamespace(worker_connections=1000, threads=1)
    monkeypatch.setattr(gunicorn, "find_worker", lambda: types.SimpleNamespace(cfg=cfg))
    assert places() is None


@pytest.mark.parametrize(
    ("places", "streams", "bodies", "ended"),
    [
        pytest.param(40, 0, 20, 0, id="half of the places are for bodies"),
        pytest.param(40, 0, 22, 2, id="more bodies than that end the oldest ones"),
        pytest.param(40, 36, 2, 0, id="a few bodies find a place beside all streams"),
        pytest.param(40, 36, 5, 3, id="more bodies than places beside the streams"),
        pytest.param(8, 6, 1, 0, id="a body finds a place in a small worker"),
        pytest.param(8, 7, 1, 1, id="the last place of a small worker is for other requests"),
        pytest.param(None, 36, 50, 0, id="an unknown number of places"),
    ],
)
def test_bodies_that_arrive_slowly_leave_places(
    places: int | None, streams: int, bodies: int, ended: int
) -> None:
    clock = ManualClock()
    concurrency = ManualConcurrency(clock)
    timer = Timer(concurrency, FlushInterval(0, clock=clock), clock)
    reads = BodyReads(
        timer, concurrency.lock(), seconds=60.0, places=places, streams=lambda: streams
    )
    with contextlib.ExitStack() as opened:
        were_ended = []
        for _ in range(bodies):
            ours, theirs = socket.socketpair()
            opened.enter_context(ours)
            opened.enter_context(theirs)
            were_ended.append(opened.enter_context(reads.limit({"gunicorn.socket": ours})))
        clock.advance(CROWDED_SECONDS)
        assert [was_ended() for was_ended in were_ended] == [True] * ended + [False] * (
            bodies - ended
        )


def test_a_stream_that_takes_a_place_ends_the_oldest_body() -> None:
    clock, streams = ManualClock(), [30]
    concurrency = ManualConcurrency(clock)
    timer = Timer(concurrency, FlushInterval(0, clock=clock), clock)
    reads = BodyReads(
        timer, concurrency.lock(), seconds=60.0, places=40, streams=lambda: streams[0]
    )
    with contextlib.ExitStack() as opened:
        pairs = [socket.socketpair() for _ in range(8)]
        for pair in pairs:
            opened.enter_context(pair[0])
            opened.enter_context(pair[1])
        first, *others = (
            opened.enter_context(reads.limit({"gunicorn.socket": ours})) for ours, _ in pairs
        )
        reads.make_room()
        clock.advance(CROWDED_SECONDS)
        assert not first()
        streams[0] += 1
        reads.make_room()
        assert not first()
        clock.advance(CROWDED_SECONDS)
        assert first()
        assert not any(other() for other in others)
