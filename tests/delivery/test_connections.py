"""The open connections of a process, and what is done to all of them."""

from __future__ import annotations

import socket
import threading
import typing as t
from collections.abc import Iterator

import pytest

from flask_aistream.delivery.connections import Connections
from flask_aistream.errors import TooManyConnections
from flask_aistream.errors import Unavailable
from tests.doubles import ManualClock

PATIENCE = 30.0


class Body:
    """A response in the hands of a test."""

    def __init__(self) -> None:
        self.writing: bytes | None = None
        self.parted = False
        self.told: list[int] = []

    def recall(self, milliseconds: int) -> None:
        self.told.append(milliseconds)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The server's end of a connection, and the client's."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(0)
    with ours, theirs:
        yield ours, theirs


def connections(
    clock: ManualClock, patience: float | None = PATIENCE, **bounds: int | None
) -> Connections:
    numbers = iter(range(100, 1000))
    return Connections(
        threading.Lock(),
        patience=patience,
        **bounds,
        clock=clock,
        random_ms=lambda low, high: next(numbers),
    )


def is_open(theirs: socket.socket) -> bool:
    try:
        return theirs.recv(1) != b""
    except BlockingIOError:
        return True


def watch(open_now: Connections, clock: ManualClock, seconds: float) -> None:
    """Let time pass, with looks as often as asked for."""
    rest = t.cast(float, open_now.rest)
    for _ in range(round(seconds / rest)):
        clock.advance(rest)
        open_now.sweep()


def test_a_write_that_does_not_return_ends_its_connection(
    clock: ManualClock, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    open_now, body = connections(clock), Body()
    open_now.add(body, ours.fileno())
    body.writing = b"much"
    open_now.sweep()
    watch(open_now, clock, PATIENCE - 5)
    assert is_open(theirs)
    watch(open_now, clock, 5)
    assert not is_open(theirs)
    assert ours.fileno() >= 0  # It is the server that closes it.


def test_who_takes_something_now_and_then_is_left_alone(
    clock: ManualClock, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    open_now, body = connections(clock), Body()
    open_now.add(body, ours.fileno())
    for number in range(10):
        body.writing = b"piece %d" % number
        watch(open_now, clock, PATIENCE - 5)
    body.writing = None
    watch(open_now, clock, 10 * PATIENCE)
    assert is_open(theirs)


@pytest.mark.parametrize("patience", [PATIENCE, None])
def test_a_connection_that_is_not_ours_alone_is_left_alone(
    clock: ManualClock, patience: float | None
) -> None:
    open_now, body = connections(clock, patience), Body()
    open_now.add(body, None)
    body.writing = b"much"
    for _ in range(10):
        clock.advance(PATIENCE)
        open_now.sweep()
    assert open_now.count == 1


def test_an_ended_response_cuts_nobody_off(
    clock: ManualClock, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    open_now, body = connections(clock), Body()
    open_now.add(body, ours.fileno())
    body.writing = b"much"
    open_now.sweep()
    open_now.forget(body)
    open_now.forget(body)
    watch(open_now, clock, 2 * PATIENCE)
    assert is_open(theirs)
    assert open_now.count == 0


def test_a_short_patience_is_kept_too(clock: ManualClock) -> None:
    assert connections(clock, 0.4).rest == pytest.approx(0.1)
    assert connections(clock, 3600.0).rest == 5.0
    assert connections(clock, None).rest is None


def test_everybody_is_recalled_at_a_time_of_his_own(clock: ManualClock) -> None:
    open_now, bodies = connections(clock), [Body(), Body(), Body()]
    for body in bodies[:2]:
        open_now.add(body, None)
    open_now.recall()
    open_now.add(bodies[2], None)  # Who comes after that is sent on at once.
    assert [body.told for body in bodies] == [[100], [101], [102]]


def test_many_are_recalled_some_at_a_time(clock: ManualClock) -> None:
    open_now, bodies = connections(clock), [Body() for _ in range(25)]
    for body in bodies:
        open_now.add(body, None)
    recalled = [open_now.recall() and sum(bool(body.told) for body in bodies) for _ in range(3)]
    assert recalled == [10, 20, False]
    assert all(len(body.told) == 1 for body in bodies)


def test_everybody_can_be_recalled_at_once(clock: ManualClock) -> None:
    open_now, bodies = connections(clock), [Body() for _ in range(25)]
    for body in bodies:
        open_now.add(body, None)
    assert open_now.recall()
    assert not open_now.recall(everybody=True)
    assert all(len(body.told) == 1 for body in bodies)


def test_the_connection_of_who_was_told_to_come_back_is_not_kept(
    clock: ManualClock, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    open_now, body = connections(clock), Body()
    open_now.add(body, ours.fileno())
    ours.send(b"!")
    body.parted = True
    open_now.forget(body)
    assert theirs.recv(10) == b"!"
    assert not is_open(theirs)


def test_more_connections_than_may_be_are_refused_until_one_has_ended(clock: ManualClock) -> None:
    open_now = connections(clock, most=2)
    bodies = [Body(), Body()]
    for body in bodies:
        open_now.check("ann")
        open_now.add(body, None, "ann")
    with pytest.raises(Unavailable) as caught:
        open_now.check(None)
    assert caught.value.status == 503
    open_now.forget(bodies[0], "ann")
    open_now.check(None)


def test_an_owner_has_no_more_connections_than_it_may(clock: ManualClock) -> None:
    open_now = connections(clock, most_per_owner=2)
    bodies = [Body(), Body()]
    for body in bodies:
        open_now.add(body, None, "ann")
    with pytest.raises(TooManyConnections, match="2 streams") as caught:
        open_now.check("ann")
    assert caught.value.status == 429
    for somebody in ("bob", None):
        open_now.check(somebody)
    open_now.forget(bodies[0], "ann")
    open_now.check("ann")
