"""A run has one owner at a time. It may wait for the first one, and be adopted by another."""

from __future__ import annotations

import typing as t

import pytest

from flask_aistream.core import events as ev
from flask_aistream.core.run import Run
from flask_aistream.runs.dispatch import DispatchQueue
from flask_aistream.stores.memory import MemoryLog
from flask_aistream.testing import Gate
from flask_aistream.testing import Script
from tests.doubles import ManualClock
from tests.doubles import ManualConcurrency
from tests.runs.support import RunnerHarness
from tests.runs.support import ThreadsOnManualTime
from tests.runs.support import active_run
from tests.runs.support import run_of
from tests.runs.support import until


@pytest.fixture
def harness(clock: ManualClock) -> RunnerHarness:
    return RunnerHarness(
        clock, ManualConcurrency(clock), queue=DispatchQueue(lambda ticket: None, 30, clock)
    )


def queued(harness: RunnerHarness) -> Run:
    run = run_of()
    harness.store.create(run, [ev.RunStarted(run.id, "chat")], owned=False)
    return run


def work(harness: RunnerHarness) -> None:
    assert isinstance(harness.concurrency, ManualConcurrency)
    harness.concurrency.run()


def test_a_queued_run_that_no_worker_adopts_fails_once_and_is_announced_once(
    harness: RunnerHarness,
) -> None:
    run = queued(harness)
    harness.clock.advance(29)
    harness.runner.recover()
    assert not harness.store.open(run.id).ended
    harness.clock.advance(1)
    harness.runner.recover()
    harness.runner.recover()
    work(harness)
    (ended,) = harness.ends.received
    assert isinstance(ended.outcome, ev.Failed)
    assert ended.outcome.code == "queue_timeout"
    assert harness.store.adopt(run.id) is None


def test_a_run_adopted_by_another_process_is_interrupted_here_and_not_announced(
    clock: ManualClock,
) -> None:
    harness = RunnerHarness(clock, ThreadsOnManualTime(clock))
    gate = Gate()
    script = Script("a", gate)
    log = t.cast(MemoryLog, harness.start(script))
    gate.wait_reached()
    log.owned = False
    harness.runner._termination.on_lost(active_run(harness, log))
    script.wait_closed()
    until(lambda: harness.runner.count == 0)
    for thread in harness.spawned:
        until(lambda thread=thread: not thread.alive)  # type: ignore[misc]
    assert (log.ended, harness.ends.received) == (False, [])
