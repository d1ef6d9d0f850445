"""One alarm serves all timers."""

from __future__ import annotations

import threading
import time
import typing as t
import weakref

import pytest

from flask_aistream.server.threads import Threads
from flask_aistream.testing import DEADLINE
from flask_aistream.timing.flush import CHECK_SECONDS
from flask_aistream.timing.flush import FlushInterval
from flask_aistream.timing.timer import Timer
from tests.doubles import ManualClock
from tests.doubles import ManualConcurrency
from tests.runs.support import until

FLUSH = 0.5


class Calls:
    """Callbacks that record when they are called."""

    def __init__(self, clock: ManualClock) -> None:
        self.log: list[tuple[str, float]] = []
        self._clock = clock
        self._start = clock()

    def __call__(self, name: str) -> t.Callable[[], None]:
        return lambda: self.log.append((name, self._clock() - self._start))


@pytest.fixture
def timer(clock: ManualClock) -> Timer:
    return Timer(ManualConcurrency(clock), FlushInterval(FLUSH, clock=clock), clock)


@pytest.fixture
def calls(clock: ManualClock) -> Calls:
    return Calls(clock)


def test_a_callback_is_not_called_early(timer: Timer, clock: ManualClock, calls: Calls) -> None:
    timer.call_later(10, calls("a"))
    timer.call_at_flush(clock() + FLUSH, calls("b"))
    clock.advance(FLUSH - 0.01)
    assert calls.log == []


def test_callbacks_are_called_once_each_in_the_order_of_their_times(
    timer: Timer, clock: ManualClock, calls: Calls
) -> None:
    for delay in (30, 10, 20, 10):
        timer.call_later(delay, calls(str(delay)))
    timer.call_at_flush(clock() + FLUSH, calls("flush"))
    clock.advance(100)
    assert calls.log == [("flush", FLUSH), ("10", 10), ("10", 10), ("20", 20), ("30", 30)]


def test_a_timer_set_later_may_be_due_earlier(
    timer: Timer, clock: ManualClock, calls: Calls
) -> None:
    timer.call_later(100, calls("late"))
    timer.call_later(1, calls("early"))
    timer.call_at_flush(clock() + FLUSH, calls("flush"))
    clock.advance(1)
    assert calls.log == [("flush", FLUSH), ("early", 1)]


def test_a_delay_of_zero_still_waits_for_the_alarm(
    timer: Timer, clock: ManualClock, calls: Calls
) -> None:
    timer.call_later(0, calls("now"))
    assert calls.log == []
    clock.advance(0)
    assert calls.log == [("now", 0)]


def test_a_cancelled_callback_is_not_called(timer: Timer, clock: ManualClock, calls: Calls) -> None:
    kept, cancelled = timer.call_later(1, calls("kept")), timer.call_later(1, calls("cancelled"))
    cancelled.cancel()
    clock.advance(1)
    assert calls.log == [("kept", 1)]
    kept.cancel()  # No effect after the call.


def test_a_callback_may_schedule_another_one(
    timer: Timer, clock: ManualClock, calls: Calls
) -> None:
    def again() -> None:
        calls("again")()
        timer.call_later(10, again)

    timer.call_later(10, again)
    clock.advance(35)
    assert calls.log == [("again", 10), ("again", 20), ("again", 30)]


def test_an_exception_in_a_callback_is_logged_and_stops_no_other(
    timer: Timer, clock: ManualClock, calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("can't start new thread")

    timer.call_later(1, fail)
    timer.call_later(1, calls("beside"))
    timer.call_later(2, calls("after"))
    timer.call_at_flush(clock() + FLUSH, fail)
    clock.advance(2)
    assert calls.log == [("beside", 1), ("after", 2)]
    assert "can't start new thread" in caplog.text


def test_cancelled_timers_do_not_accumulate(timer: Timer, clock: ManualClock) -> None:
    # Every run has a timer an hour ahead, which is cancelled when the run ends.
    kept = [timer.call_later(3600, lambda: None) for _ in range(100)]
    for _ in range(100_000):
        timer.call_later(3600, lambda: None).cancel()
    assert len(timer._timers) < 5000
    assert {id(kept_one) for kept_one in kept} <= {id(entry[-1]) for entry in timer._timers}


def test_a_cancelled_callback_is_released_at_once(timer: Timer) -> None:
    def callback() -> None: ...

    gone = weakref.ref(callback)
    handle = timer.call_later(3600, callback)
    handle.cancel()
    del callback
    assert gone() is None


def test_the_flush_interval_receives_the_delay_of_each_alarm(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    delays: list[float] = []
    lag = 0.0
    flush_interval = FlushInterval(FLUSH, clock=clock)
    monkeypatch.setattr(flush_interval, "record_delay", delays.append)
    timer = Timer(ManualConcurrency(clock), flush_interval, lambda: clock() + lag)
    timer.call_later(1, lambda: None)
    clock.advance(1)
    # A write that outlasts the interval is due again at once: the timer is not late for it.
    timer.call_at_flush(clock() - 1, lambda: None)
    clock.advance(0)
    timer.call_later(1, lambda: None)
    lag = 0.125
    clock.advance(1)
    assert delays == [0, 0, 0.125]


@pytest.mark.parametrize(
    ("delay", "pauses"),
    [
        pytest.param(0.0, False, id="of a process that is on time is none"),
        pytest.param(1.0, True, id="of a process that is late lasts until the next flush"),
    ],
)
def test_a_pause(clock: ManualClock, delay: float, pauses: bool) -> None:
    flush_interval = FlushInterval(FLUSH, 2 * FLUSH, clock=clock)
    concurrency = ManualConcurrency(clock)
    timer = Timer(concurrency, flush_interval, clock)
    flush_interval.record_delay(delay)
    clock.advance(CHECK_SECONDS)
    begun_at, due = clock(), flush_interval.next_write(clock())
    timer.pause(concurrency.waiter)
    assert clock() == (due if pauses else begun_at)


def test_many_threads_may_schedule_callbacks() -> None:
    timer = Timer(Threads(), FlushInterval(0.001))
    rung: list[int] = []

    def work(number: int) -> None:
        for _ in range(200):
            timer.call_at_flush(time.monotonic() + 0.001, lambda: rung.append(number))
            timer.call_later(0.001, lambda: rung.append(number))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    until(lambda: len(rung) == 1600, "all callbacks")


@pytest.mark.parametrize("delay", [float("1e9"), float("1e300")])
def test_a_delay_beyond_what_the_clock_can_hold_does_not_block_other_timers(delay: float) -> None:
    timer = Timer(Threads(), FlushInterval(0.001))
    timer.call_later(delay, lambda: None)
    rung = threading.Event()
    timer.call_later(0.001, rung.set)
    assert rung.wait(DEADLINE)
