from __future__ import annotations

import typing as t

import pytest

from flask_aistream.core import events as ev
from flask_aistream.stores.limits import Limits
from flask_aistream.stores.memory import MemoryStore
from tests.doubles import ManualClock
from tests.stores.contract import StoreContract
from tests.stores.contract import Wakes
from tests.stores.contract import begin


class TestMemoryStore(StoreContract):
    def make_store(self, clock: ManualClock, **limits: t.Any) -> MemoryStore:
        return MemoryStore(Limits(**limits), clock=clock)


class Interrupt(BaseException):
    pass


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_writer_that_is_interrupted_while_it_wakes_readers_leaves_none_asleep(
    store: MemoryStore, at: int
) -> None:
    # A stop ends the run and then interrupts the provider's thread, which may just be waking readers.
    log, _ = begin(store)
    wakes = [Wakes() for _ in range(3)]

    def interrupted() -> None:
        if wakes[at].count == 0:
            wakes[at]()
            raise Interrupt

    for number, wake in enumerate(wakes):
        log.notify(0, interrupted if number == at else wake)
    with pytest.raises(Interrupt):
        log.append("a")
    assert all(wake.count for wake in wakes)


def test_a_thousand_forgotten_runs_leave_nothing(clock: ManualClock) -> None:
    store = MemoryStore(Limits(retain=1), clock=clock)
    for number in range(1000):
        log, _ = begin(store, key=f"k{number}", chat=f"c{number}", owner=f"o{number}")
        log.notify(0, Wakes())
        log.end(ev.Finished())
    store.sweep()
    clock.advance(1)
    store.sweep()
    held = (store._logs, store._keys, store._chats, store._by_owner)
    assert [len(it) for it in held] == [0, 0, 0, 0]
