from __future__ import annotations

from collections.abc import Callable

import pytest

from flask_aistream.server.threads import Interrupt
from flask_aistream.timing.coalesce import Coalescer

Callbacks = list[Callable[[], None]]


def test_items_added_before_the_callback_are_handled_in_one_call() -> None:
    scheduled: Callbacks = []
    handled: list[int] = []
    coalescer = Coalescer(scheduled.append, handled.append)
    for number in range(3):
        coalescer.add(number)
    assert (len(scheduled), handled) == (1, [])
    scheduled.pop()()
    assert handled == [0, 1, 2]


def test_an_item_added_after_the_callback_schedules_another_one() -> None:
    scheduled: Callbacks = []
    handled: list[int] = []
    coalescer = Coalescer(scheduled.append, handled.append)
    for number in range(2):
        coalescer.add(number)
        scheduled.pop()()
    assert handled == [0, 1]


def test_an_item_added_during_the_callback_is_handled() -> None:
    scheduled: Callbacks = []
    handled: list[int] = []

    def handle(number: int) -> None:
        handled.append(number)
        if number == 0:
            coalescer.add(1)

    coalescer = Coalescer(scheduled.append, handle)
    coalescer.add(0)
    while scheduled:
        scheduled.pop()()
    assert handled == [0, 1]


def test_an_interrupted_add_does_not_keep_the_next_one_from_scheduling() -> None:
    scheduled: Callbacks = []
    handled: list[int] = []
    faults = [Interrupt()]

    def schedule(callback: Callable[[], None]) -> None:
        if faults:
            raise faults.pop()
        scheduled.append(callback)

    coalescer = Coalescer(schedule, handled.append)
    with pytest.raises(Interrupt):
        coalescer.add(0)
    coalescer.add(1)
    scheduled.pop()()
    assert handled == [0, 1]
