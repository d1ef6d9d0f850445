"""A client that stops reading is cut off, and nobody else."""

from __future__ import annotations

import socket
import typing as t

import pytest

from flask_aistream.delivery.watchdog import WriteWatchdog
from tests.delivery.support import FakeDelivery
from tests.delivery.support import as_delivery
from tests.delivery.support import is_open
from tests.delivery.support import registry_of
from tests.doubles import ManualClock

PATIENCE = 30.0
Pair = tuple[socket.socket, socket.socket]


def check_for(watchdog: WriteWatchdog, clock: ManualClock, seconds: float) -> None:
    """Let time pass, with checks as often as the watchdog asks for."""
    interval = t.cast(float, watchdog.interval)
    for _ in range(round(seconds / interval)):
        clock.advance(interval)
        watchdog.check()


def test_a_write_that_does_not_return_is_cut_off_after_the_patience(
    clock: ManualClock, pair: Pair
) -> None:
    ours, theirs = pair
    delivery = FakeDelivery()
    watchdog = WriteWatchdog(registry_of([delivery], ours.fileno()), patience=PATIENCE, clock=clock)
    delivery.writing = b"much"
    watchdog.check()
    check_for(watchdog, clock, PATIENCE - 5)
    assert is_open(theirs)
    check_for(watchdog, clock, 5)
    assert not is_open(theirs)
    assert ours.fileno() >= 0  # The server closes it.


def test_a_slow_client_that_makes_progress_stays(clock: ManualClock, pair: Pair) -> None:
    ours, theirs = pair
    delivery = FakeDelivery()
    watchdog = WriteWatchdog(registry_of([delivery], ours.fileno()), patience=PATIENCE, clock=clock)
    for number in range(10):
        delivery.writing = b"piece %d" % number
        check_for(watchdog, clock, PATIENCE - 5)
    delivery.writing = None
    check_for(watchdog, clock, 10 * PATIENCE)
    assert is_open(theirs)


def test_a_connection_that_was_removed_is_never_cut_off(clock: ManualClock, pair: Pair) -> None:
    ours, theirs = pair
    delivery = FakeDelivery()
    registry = registry_of([delivery], ours.fileno())
    watchdog = WriteWatchdog(registry, patience=PATIENCE, clock=clock)
    delivery.writing = b"much"
    watchdog.check()
    assert registry.remove(as_delivery(delivery)) == ours.fileno()
    assert registry.remove(as_delivery(delivery)) is None
    check_for(watchdog, clock, 2 * PATIENCE)
    assert is_open(theirs)
    assert len(registry) == 0


@pytest.mark.parametrize("patience", [PATIENCE, None])
def test_a_shared_connection_or_endless_patience_is_never_cut_off(
    clock: ManualClock, patience: float | None
) -> None:
    delivery = FakeDelivery()
    watchdog = WriteWatchdog(registry_of([delivery], None), patience=patience, clock=clock)
    delivery.writing = b"much"
    for _ in range(10):
        clock.advance(PATIENCE)
        watchdog.check()


@pytest.mark.parametrize(("patience", "interval"), [(0.4, 0.1), (3600.0, 5.0), (None, None)])
def test_the_interval_between_checks_follows_the_patience(
    clock: ManualClock, patience: float | None, interval: float | None
) -> None:
    watchdog = WriteWatchdog(registry_of([]), patience=patience, clock=clock)
    assert watchdog.interval == interval
