"""The flush interval grows while the loop is late."""

from __future__ import annotations

import pytest

from flask_aistream.timing.flush import CHECK_SECONDS
from flask_aistream.timing.flush import LATE
from flask_aistream.timing.flush import ON_TIME
from flask_aistream.timing.flush import FlushInterval
from tests.doubles import ManualClock

BASE, BUSY = 0.005, 0.03


class Loop:
    """A loop whose timer is called back late."""

    def __init__(self, clock: ManualClock, base: float = BASE, busy: float = BUSY) -> None:
        self.clock = clock
        self.flush_interval = FlushInterval(base, busy, clock=clock)

    def run(self, *delays: float, seconds: float = 10.0) -> float:
        """:returns: The interval after ``seconds``, in which calls have these delays in turn."""
        for _ in range(round(seconds / CHECK_SECONDS)):
            for delay in delays:
                self.flush_interval.record_delay(delay)
            self.clock.advance(CHECK_SECONDS)
            self.flush_interval.next_write(self.clock())
        return self.flush_interval.interval


DELAYS = [
    pytest.param([], BASE, id="nothing to do"),
    pytest.param([0.0005], BASE, id="on time"),
    pytest.param([0.0005] * 19 + [0.05], BASE, id="one pause among many calls"),
    pytest.param([(ON_TIME + LATE) / 2], BASE, id="hardly late"),
    pytest.param([LATE * 1.1], BUSY, id="late"),
    pytest.param([1.0], BUSY, id="stalled"),
]


@pytest.mark.parametrize(("delays", "interval"), DELAYS)
def test_the_interval_follows_the_mean_delay(
    clock: ManualClock, delays: list[float], interval: float
) -> None:
    assert Loop(clock).run(*delays) == pytest.approx(interval)


def test_the_interval_stays_while_the_delay_is_between_the_bounds(clock: ManualClock) -> None:
    loop = Loop(clock)
    grown = loop.run(LATE * 1.1, seconds=0.3)
    assert BASE < grown < BUSY
    assert loop.run((ON_TIME + LATE) / 2) == grown


def test_the_interval_grows_within_a_second_and_shrinks_more_slowly(clock: ManualClock) -> None:
    loop = Loop(clock, busy=0.04)
    assert loop.run(LATE * 2, seconds=1.0) == 0.04
    assert loop.run(0.0, seconds=1.0) > BASE
    assert loop.run(0.0, seconds=2.0) == BASE


def test_an_interval_of_zero_grows_and_returns_to_zero(clock: ManualClock) -> None:
    loop = Loop(clock, base=0.0)
    assert loop.run(LATE * 2) == BUSY
    assert loop.run(0.0) == 0.0
    assert loop.flush_interval.next_write(clock()) == clock()


@pytest.mark.parametrize("busy", [0.0, BASE / 2])
def test_the_interval_is_constant_unless_busy_exceeds_base(clock: ManualClock, busy: float) -> None:
    assert Loop(clock, busy=busy).run(1.0) == BASE


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
