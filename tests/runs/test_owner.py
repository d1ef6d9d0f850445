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
from tests.runs.support import Bench
from tests.runs.support import ThreadsOnManualTime
from tests.runs.support import active_run
from tests.runs.support import run_of
from tests.runs.support import until


@pytest.fixture
def bench(clock: ManualClock) -> Bench:
    return Bench(
        clock, ManualConcurrency(clock), queue=DispatchQueue(lambda ticket: None, 30, clock)
    )


def queued(bench: Bench) -> Run:
    run = run_of()
    bench.store.create(run, [ev.RunStarted(run.id, "chat")], owned=False)
    return run


def work(bench: Bench) -> None:
    assert isinstance(bench.concurrency, ManualConcurrency)
    bench.concurrency.run()


def test_a_queued_run_that_no_worker_adopts_fails_once_and_is_announced_once(bench: Bench) -> None:
    run = queued(bench)
    bench.clock.advance(29)
    bench.runner.recover()
    assert not bench.store.open(run.id).ended
    bench.clock.advance(1)
    bench.runner.recover()
    bench.runner.recover()
    work(bench)
    (ended,) = bench.ends.received
    assert isinstance(ended.outcome, ev.Failed)
    assert ended.outcome.code == "queue_timeout"
    assert bench.store.adopt(run.id) is None


def test_a_run_adopted_by_another_process_is_interrupted_here_and_not_announced(
    clock: ManualClock,
) -> None:
    bench = Bench(clock, ThreadsOnManualTime(clock))
    gate = Gate()
    script = Script("a", gate)
    log = t.cast(MemoryLog, bench.start(script))
    gate.wait_reached()
    log.owned = False
    bench.runner._termination.on_lost(active_run(bench, log))
    script.wait_closed()
    until(lambda: bench.runner.count == 0)
    for thread in bench.spawned:
        until(lambda thread=thread: not thread.alive)  # type: ignore[misc]
    assert (log.ended, bench.ends.received) == (False, [])
