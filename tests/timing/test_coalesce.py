from __future__ import annotations

from collections.abc import Callable

import pytest

from flask_aistream.server.threads import Interrupt
from flask_aistream.timing.coalesce import Coalescer

Turns = list[Callable[[], None]]


def test_all_that_come_until_the_turn_of_the_first_are_done_in_one() -> None:
    turns: Turns = []
    done: list[int] = []
    together = Coalescer(turns.append, done.append)
    for number in range(3):
        together.add(number)
    assert (len(turns), done) == (1, [])
    turns.pop()()
    assert done == [0, 1, 2]


def test_what_comes_after_a_turn_gets_one_of_its_own() -> None:
    turns: Turns = []
    done: list[int] = []
    together = Coalescer(turns.append, done.append)
    for number in range(2):
        together.add(number)
        turns.pop()()
    assert done == [0, 1]


def test_what_is_added_during_a_turn_is_not_forgotten() -> None:
    turns: Turns = []
    done: list[int] = []

    def act(number: int) -> None:
        done.append(number)
        if number == 0:
            together.add(1)

    together = Coalescer(turns.append, act)
    together.add(0)
    while turns:
        turns.pop()()
    assert done == [0, 1]


def test_who_is_interrupted_while_adding_keeps_no_turn_from_the_others() -> None:
    turns: Turns = []
    done: list[int] = []
    faults = [Interrupt()]

    def soon(turn: Callable[[], None]) -> None:
        if faults:
            raise faults.pop()
        turns.append(turn)

    together = Coalescer(soon, done.append)
    with pytest.raises(Interrupt):
        together.add(0)
    together.add(1)
    turns.pop()()
    assert done == [0, 1]
