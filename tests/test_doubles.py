"""The doubles for time and concurrency."""

from __future__ import annotations

import pytest

from tests.doubles import ManualClock
from tests.doubles import ManualConcurrency


def test_time_moves_only_when_advanced(clock: ManualClock) -> None:
    before = clock()
    clock.advance(1.5)
    assert clock() == before + 1.5


def test_alarms_ring_in_order_each_at_its_time() -> None:
    clock = ManualClock(0.0)
    rung: list[tuple[str, float]] = []
    for name, delay in (("late", 3.0), ("early", 1.0), ("never", 9.0)):
        clock.alarm(lambda name=name: rung.append((name, clock()))).set(delay)  # type: ignore[misc]
    clock.advance(5)
    assert rung == [("early", 1.0), ("late", 3.0)]
    assert clock() == 5


def test_an_alarm_set_again_rings_at_its_new_time() -> None:
    clock = ManualClock(0.0)
    rung: list[float] = []
    alarm = clock.alarm(lambda: rung.append(clock()))
    alarm.set(1)
    alarm.set(3)
    clock.advance(10)
    assert rung == [3]


def test_an_alarm_may_set_itself_again() -> None:
    clock = ManualClock(0.0)
    rung: list[float] = []

    def ring() -> None:
        rung.append(clock())
        alarm.set(2)

    alarm = clock.alarm(ring)
    alarm.set(2)
    clock.advance(7)
    assert rung == [2, 4, 6]


def test_spawned_tasks_run_on_request(clock: ManualClock) -> None:
    concurrency = ManualConcurrency(clock)
    done: list[str] = []

    def first() -> None:
        done.append("first")
        concurrency.spawn(lambda: done.append("second"))

    task = concurrency.spawn(first)
    assert (done, task.alive) == ([], True)
    concurrency.run()
    assert (done, task.alive) == (["first", "second"], False)


def test_a_task_interrupted_before_it_ran_does_not_run(clock: ManualClock) -> None:
    concurrency = ManualConcurrency(clock)
    done: list[str] = []
    task = concurrency.spawn(lambda: done.append("x"))
    task.interrupt()
    concurrency.run()
    assert (done, task.alive) == ([], False)


def test_a_waiter_runs_other_tasks_before_it_advances_time(clock: ManualClock) -> None:
    concurrency = ManualConcurrency(clock)
    waiter = concurrency.waiter()
    start = clock()
    concurrency.spawn(waiter.wake)
    waiter.wait()
    assert clock() == start
    clock.alarm(waiter.wake).set(30)
    waiter.wait()
    assert clock() == start + 30


def test_a_waiter_that_cannot_be_woken_fails_the_test(clock: ManualClock) -> None:
    with pytest.raises(AssertionError, match="nothing is left to wake it"):
        ManualConcurrency(clock).waiter().wait()
