"""Limits of starts that some callers share."""

from __future__ import annotations

import threading

import pytest

from flask_aistream.errors import TooManyRuns
from flask_aistream.errors import TooManyStarts
from flask_aistream.runs.quota import MAX_CALLERS
from flask_aistream.runs.quota import Quota
from flask_aistream.runs.quota import Share
from flask_aistream.runs.quota import StartRate
from flask_aistream.testing import Script
from tests.doubles import ManualClock
from tests.doubles import ManualConcurrency
from tests.runs.support import RunnerHarness
from tests.runs.support import call_of
from tests.runs.support import run_of

TWO = Share("visitors", 2, "There are 2 visitors. Come back later.")


@pytest.fixture
def harness(clock: ManualClock) -> RunnerHarness:
    return RunnerHarness(clock, ManualConcurrency(clock))


def rate_of(clock: ManualClock, per_minute: int) -> StartRate:
    return StartRate(per_minute, threading.Lock(), clock)


def test_runs_with_a_share_of_one_name_are_counted_together(harness: RunnerHarness) -> None:
    runner, call = harness.runner, call_of(Script("a"))
    logs = [runner.start(run_of(), call, Quota((TWO,)))[0] for _ in range(2)]
    with pytest.raises(TooManyRuns, match="Come back later"):
        runner.start(run_of(), call, Quota((TWO,)))
    runner.start(run_of(), call)
    runner.stop(logs[0], "client")
    runner.start(run_of(), call, Quota((TWO,)))
    with pytest.raises(TooManyRuns):
        runner.start(run_of(), call, Quota((TWO,)))


def test_a_rejected_start_holds_no_share(harness: RunnerHarness, clock: ManualClock) -> None:
    once = rate_of(clock, 1)
    harness.runner.start(run_of(), call_of(Script("a")), Quota((TWO,), once, "ann"))
    for _ in range(3):
        with pytest.raises(TooManyStarts):
            harness.runner.start(run_of(), call_of(Script("a")), Quota((TWO,), once, "ann"))
    harness.runner.start(run_of(), call_of(Script("a")), Quota((TWO,)))


def test_a_retry_with_the_same_key_is_no_start(harness: RunnerHarness, clock: ManualClock) -> None:
    quota = Quota((TWO,), rate_of(clock, 1), "ann")
    first = harness.runner.start(run_of(key="k"), call_of(Script("a")), quota)[0]
    for _ in range(5):
        log, new = harness.runner.start(run_of(key="k"), call_of(Script("a")), quota)
        assert (log.run.id, new) == (first.run.id, False)


def test_a_minutes_starts_may_come_at_once_and_are_refilled(clock: ManualClock) -> None:
    rate = rate_of(clock, 6)
    for _ in range(6):
        rate.take("ann")
    with pytest.raises(TooManyStarts, match="more than 6 runs within a minute") as caught:
        rate.take("ann")
    assert caught.value.retry_after == pytest.approx(10)
    assert caught.value.status == 429
    rate.take("bob")
    clock.advance(9)
    with pytest.raises(TooManyStarts):
        rate.take("ann")
    clock.advance(1.1)
    rate.take("ann")


def test_callers_are_forgotten(clock: ManualClock) -> None:
    rate = rate_of(clock, 1)
    for number in range(MAX_CALLERS + 100):
        rate.take(str(number))
    assert len(rate._buckets) <= MAX_CALLERS
    clock.advance(61)
    for _ in range(MAX_CALLERS):
        rate.take("ann")
        clock.advance(61)
    assert len(rate._buckets) == 1
