"""How many connections a process, an owner and an address may have open."""

from __future__ import annotations

import threading

import pytest

from flask_aistream.delivery.limits import ConnectionLimits
from flask_aistream.errors import TooManyConnections
from flask_aistream.errors import Unavailable


def limits(**limit: int | None) -> ConnectionLimits:
    return ConnectionLimits(threading.Lock(), **limit)


def test_a_process_refuses_connections_beyond_its_limit_until_one_is_released() -> None:
    limited = limits(limit=2)
    first, _ = limited.acquire("ann"), limited.acquire(None)
    with pytest.raises(Unavailable) as caught:
        limited.acquire(None)
    assert caught.value.status == 503
    first.release()
    limited.acquire(None)


def test_an_owner_is_limited_and_other_owners_are_not() -> None:
    limited = limits(limit_per_owner=2)
    first, _ = limited.acquire("ann"), limited.acquire("ann")
    with pytest.raises(TooManyConnections, match="2 open streams") as caught:
        limited.acquire("ann")
    assert caught.value.status == 429
    for other in ("bob", None, None, None):
        limited.acquire(other)
    first.release()
    limited.acquire("ann")


def test_a_slot_that_is_released_twice_counts_once() -> None:
    limited = limits(limit=2, limit_per_owner=2)
    first, _ = limited.acquire("ann"), limited.acquire("ann")
    first.release()
    first.release()
    limited.acquire("ann")
    with pytest.raises(Unavailable):
        limited.acquire("ann")


def test_a_refused_connection_takes_no_place() -> None:
    limited = limits(limit=2, limit_per_owner=1)
    first = limited.acquire("ann")
    for _ in range(3):
        with pytest.raises(TooManyConnections):
            limited.acquire("ann")
    limited.acquire("bob")
    first.release()
    limited.acquire("ann")


def test_the_clients_of_an_address_are_limited_and_owners_there_are_not() -> None:
    limited = limits(limit_per_address=2)
    first, _ = limited.acquire(None, "8.8.8.8"), limited.acquire(None, "8.8.8.8")
    with pytest.raises(TooManyConnections, match="your network have 2 open streams"):
        limited.acquire(None, "8.8.8.8")
    for owner, address in (("ann", "8.8.8.8"), (None, "9.9.9.9"), (None, None)):
        limited.acquire(owner, address)
    first.release()
    limited.acquire(None, "8.8.8.8")


def test_the_last_tenth_of_the_connections_is_for_resuming() -> None:
    limited = limits(limit=20)
    started = [limited.acquire(None) for _ in range(18)]
    with pytest.raises(Unavailable):
        limited.acquire(None)
    for _ in range(2):
        limited.acquire(None, resumes=True)
    with pytest.raises(Unavailable):
        limited.acquire(None, resumes=True)
    started.pop().release()
    limited.acquire(None, resumes=True)


def test_a_process_knows_when_more_than_half_of_its_places_are_taken() -> None:
    for limit, halves in ((4, [False, False, True]), (None, [False] * 3)):
        limited = limits(limit=limit)
        taken = []
        for _ in range(3):
            limited.acquire(None)
            taken.append(limited.half_taken)
        assert taken == halves
