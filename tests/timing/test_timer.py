"""All the waiting of a process, on one alarm."""

from __future__ import annotations

import threading
import time
import typing as t
import weakref

import pytest

from flask_aistream.server.threads import Threads
from flask_aistream.testing import DEADLINE
from flask_aistream.timing.flush import FlushInterval
from flask_aistream.timing.timer import Timer
from tests.doubles import ManualClock
from tests.doubles import ManualConcurrency
from tests.runs.support import until

FLUSH = 0.5


class Rings:
    """Callbacks that say when they were called."""

    def __init__(self, clock: ManualClock) -> None:
        self.told: list[tuple[str, float]] = []
        self._clock = clock
        self._start = clock()

    def __call__(self, name: str) -> t.Callable[[], None]:
        return lambda: self.told.append((name, self._clock() - self._start))


@pytest.fixture
def timer(clock: ManualClock) -> Timer:
    return Timer(ManualConcurrency(clock), FlushInterval(FLUSH, clock=clock), clock)


@pytest.fixture
def rings(clock: ManualClock) -> Rings:
    return Rings(clock)


def test_nothing_happens_before_its_time(timer: Timer, clock: ManualClock, rings: Rings) -> None:
    timer.later(10, rings("a"))
    timer.soon(clock() + FLUSH, rings("b"))
    clock.advance(FLUSH - 0.01)
    assert rings.told == []


def test_everything_happens_once_at_its_time_and_in_its_order(
    timer: Timer, clock: ManualClock, rings: Rings
) -> None:
    for delay in (30, 10, 20, 10):
        timer.later(delay, rings(str(delay)))
    timer.soon(clock() + FLUSH, rings("soon"))
    clock.advance(100)
    assert rings.told == [("soon", FLUSH), ("10", 10), ("10", 10), ("20", 20), ("30", 30)]


def test_an_earlier_one_set_later_is_not_held_up(
    timer: Timer, clock: ManualClock, rings: Rings
) -> None:
    timer.later(100, rings("late"))
    timer.later(1, rings("early"))
    timer.soon(clock() + FLUSH, rings("soon"))
    clock.advance(1)
    assert rings.told == [("soon", FLUSH), ("early", 1)]


def test_a_delay_of_zero_waits_for_the_alarm(
    timer: Timer, clock: ManualClock, rings: Rings
) -> None:
    timer.later(0, rings("now"))
    assert rings.told == []
    clock.advance(0)
    assert rings.told == [("now", 0)]


def test_what_is_cancelled_does_not_happen(timer: Timer, clock: ManualClock, rings: Rings) -> None:
    kept, cancelled = timer.later(1, rings("kept")), timer.later(1, rings("cancelled"))
    cancelled.cancel()
    clock.advance(1)
    assert rings.told == [("kept", 1)]
    kept.cancel()  # Too late, and no harm.


def test_a_callback_may_set_the_next_one(timer: Timer, clock: ManualClock, rings: Rings) -> None:
    def again() -> None:
        rings("again")()
        timer.later(10, again)

    timer.later(10, again)
    clock.advance(35)
    assert rings.told == [("again", 10), ("again", 20), ("again", 30)]


def test_a_callback_that_fails_holds_up_nobody(
    timer: Timer, clock: ManualClock, rings: Rings, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("can't start new thread")

    timer.later(1, fail)
    timer.later(1, rings("beside"))
    timer.later(2, rings("after"))
    timer.soon(clock() + FLUSH, fail)
    clock.advance(2)
    assert rings.told == [("beside", 1), ("after", 2)]
    assert "can't start new thread" in caplog.text


def test_what_was_cancelled_does_not_pile_up(timer: Timer, clock: ManualClock) -> None:
    # Every run has an expiry an hour ahead, which its end cancels.
    kept = [timer.later(3600, lambda: None) for _ in range(100)]
    for _ in range(100_000):
        timer.later(3600, lambda: None).cancel()
    assert len(timer._later) < 5000
    assert {id(kept_one) for kept_one in kept} <= {id(entry[-1]) for entry in timer._later}


def test_a_cancelled_callback_is_let_go_at_once(timer: Timer) -> None:
    def callback() -> None: ...

    gone = weakref.ref(callback)
    handle = timer.later(3600, callback)
    handle.cancel()
    del callback
    assert gone() is None


def test_how_late_it_rings_is_told(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float] = []
    lag = 0.0
    flush_interval = FlushInterval(FLUSH, clock=clock)
    monkeypatch.setattr(flush_interval, "rang", told.append)
    timer = Timer(ManualConcurrency(clock), flush_interval, lambda: clock() + lag)
    timer.later(1, lambda: None)
    clock.advance(1)
    # Who has written for so long that it is due again: nobody was late for that.
    timer.soon(clock() - 1, lambda: None)
    clock.advance(0)
    timer.later(1, lambda: None)
    lag = 0.125
    clock.advance(1)
    assert told == [0, 0, 0.125]


def test_many_threads_may_set_it() -> None:
    timer = Timer(Threads(), FlushInterval(0.001))
    rung: list[int] = []

    def work(number: int) -> None:
        for _ in range(200):
            timer.soon(time.monotonic() + 0.001, lambda: rung.append(number))
            timer.later(0.001, lambda: rung.append(number))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    until(lambda: len(rung) == 1600, "all callbacks")


@pytest.mark.parametrize("delay", [float("1e9"), float("1e300")])
def test_a_time_that_no_clock_reaches_does_not_stop_the_others(delay: float) -> None:
    timer = Timer(Threads(), FlushInterval(0.001))
    timer.later(delay, lambda: None)
    rung = threading.Event()
    timer.later(0.001, rung.set)
    assert rung.wait(DEADLINE)
