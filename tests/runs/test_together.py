from __future__ import annotations

from collections.abc import Callable

from flask_aistream.runs.together import Together

Turns = list[Callable[[], None]]


def test_all_that_come_until_the_turn_of_the_first_are_done_in_one() -> None:
    turns: Turns = []
    done: list[int] = []
    together = Together(turns.append, done.append)
    for number in range(3):
        together.add(number)
    assert (len(turns), done) == (1, [])
    turns.pop()()
    assert done == [0, 1, 2]


def test_what_comes_after_a_turn_gets_one_of_its_own() -> None:
    turns: Turns = []
    done: list[int] = []
    together = Together(turns.append, done.append)
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

    together = Together(turns.append, act)
    together.add(0)
    while turns:
        turns.pop()()
    assert done == [0, 1]
