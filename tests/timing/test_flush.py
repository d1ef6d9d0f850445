"""The flush interval grows with the load."""

from __future__ import annotations

import pytest

from flask_aistream.timing.flush import CHECK_SECONDS
from flask_aistream.timing.flush import LATE
from flask_aistream.timing.flush import FlushInterval
from tests.doubles import ManualClock

BASE, MOST = 0.005, 0.03


class Worker:
    """A process with a simulated CPU load."""

    def __init__(self, clock: ManualClock, busy: float = MOST) -> None:
        self.used = 0.0
        self.clock = clock
        self.flush_interval = FlushInterval(BASE, busy, clock=clock, cpu=lambda: self.used)

    def work(self, share: float, seconds: float = 2.0, late: float = 0.0) -> float:
        """:returns: The interval after ``seconds`` at this load, with alarms ``late`` seconds late."""
        for _ in range(round(seconds / CHECK_SECONDS)):
            self.used += share * CHECK_SECONDS
            self.clock.advance(CHECK_SECONDS)
            self.flush_interval.record_delay(late)
            self.flush_interval.next_write(self.clock())
        return self.flush_interval.interval


LOADS = [
    pytest.param(0.0, BASE, id="no load"),
    pytest.param(0.2, BASE, id="low load"),
    pytest.param(0.3, (BASE + MOST) / 2, id="half busy"),
    pytest.param(0.4, MOST, id="busy"),
    pytest.param(0.85, MOST, id="nearly one CPU"),
    pytest.param(1.0, MOST, id="one CPU"),
    pytest.param(4.0, MOST, id="several threads"),
]


@pytest.mark.parametrize(("share", "interval"), LOADS)
def test_the_interval_follows_the_load(clock: ManualClock, share: float, interval: float) -> None:
    assert Worker(clock).work(share) == pytest.approx(interval, rel=0.01)


def test_late_alarms_count_as_load(clock: ManualClock) -> None:
    worker = Worker(clock)
    assert worker.work(0.1, late=0.001) == pytest.approx(BASE, rel=0.01)
    assert worker.work(0.1, late=LATE / 2) == pytest.approx(MOST, rel=0.01)
    assert worker.work(0.1, late=2 * LATE) == pytest.approx(MOST, rel=0.01)
    assert worker.work(0.1) == pytest.approx(BASE, rel=0.01)


def test_the_interval_shrinks_again(clock: ManualClock) -> None:
    worker = Worker(clock)
    worker.work(1.0)
    assert worker.work(0.0) == pytest.approx(BASE, rel=0.01)


def test_one_measurement_moves_the_interval_only_part_of_the_way(clock: ManualClock) -> None:
    assert Worker(clock).work(1.0, CHECK_SECONDS) < MOST


@pytest.mark.parametrize("busy", [0.0, BASE / 2])
def test_the_interval_is_constant_unless_busy_exceeds_base(clock: ManualClock, busy: float) -> None:
    assert Worker(clock, busy).work(1.0) == BASE


def test_the_load_is_averaged_over_the_time_since_the_last_measurement(clock: ManualClock) -> None:
    worker = Worker(clock)
    worker.used += 1.0
    clock.advance(100)
    worker.flush_interval.next_write(clock())
    assert worker.flush_interval.interval == BASE


def test_writes_in_one_slot_have_the_same_next_write_time(
    clock: ManualClock,
) -> None:
    flush_interval = FlushInterval(BASE, clock=clock)
    slot = clock() - clock() % flush_interval.slot + flush_interval.slot
    again = {
        flush_interval.next_write(slot + share * flush_interval.slot) for share in (0.1, 0.5, 0.9)
    }
    assert max(again) == pytest.approx(min(again)) == pytest.approx(slot + BASE)


def test_delays_do_not_add_up_over_successive_writes(clock: ManualClock) -> None:
    flush_interval = FlushInterval(BASE, clock=clock)
    first = due = flush_interval.next_write(clock())
    for _ in range(10):
        due = flush_interval.next_write(due + 0.5 * flush_interval.slot)
    assert due == pytest.approx(first + 10 * BASE)
