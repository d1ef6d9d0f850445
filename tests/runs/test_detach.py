"""Runs without readers are stopped after the detach time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flask_aistream.core import events as ev
from flask_aistream.runs.runner import RECONNECT_SECONDS
from flask_aistream.stores.base import Log
from flask_aistream.testing import Gate
from flask_aistream.testing import Script
from tests.doubles import ManualClock
from tests.runs.support import RunnerHarness
from tests.runs.support import events_of
from tests.runs.support import run
from tests.runs.support import threaded
from tests.runs.support import until


@pytest.fixture
def attached(clock: ManualClock) -> Iterator[tuple[RunnerHarness, Log]]:
    """A run with one reader and a detach time of 30 s."""
    harness = threaded(clock, detach_seconds=30.0)
    gate = Gate()
    log = harness.start(Script("a", gate))
    harness.runner.attach(log.run.id)
    gate.wait_reached()
    yield harness, log
    gate.open()
    harness.ends.wait()


def test_a_run_continues_for_the_detach_time_after_its_last_reader(
    attached: tuple[RunnerHarness, Log],
) -> None:
    harness, log = attached
    harness.runner.detach(log.run.id)
    harness.clock.advance(29)
    assert not log.ended
    harness.clock.advance(1)
    assert harness.ends.wait()[0].outcome == ev.Stopped("detach")


def test_a_reader_that_reconnects_keeps_the_run_alive(attached: tuple[RunnerHarness, Log]) -> None:
    harness, log = attached
    for _ in range(3):
        harness.runner.detach(log.run.id)
        harness.clock.advance(29)
        harness.runner.attach(log.run.id)
    harness.clock.advance(100)
    assert not log.ended


def test_the_detach_time_starts_after_the_last_of_two_readers(
    attached: tuple[RunnerHarness, Log],
) -> None:
    harness, log = attached
    harness.runner.attach(log.run.id)
    harness.runner.detach(log.run.id)
    harness.clock.advance(100)
    assert not log.ended
    harness.runner.detach(log.run.id)
    harness.clock.advance(30)
    assert harness.ends.wait()[0].outcome == ev.Stopped("detach")


def test_a_reader_that_cannot_come_back_has_no_detach_time(
    attached: tuple[RunnerHarness, Log],
) -> None:
    harness, log = attached
    harness.runner.detach(log.run.id, returns=False)
    assert harness.ends.wait()[0].outcome == ev.Stopped("detach")


@pytest.mark.parametrize("order", [(True, False), (False, True)])
def test_a_reader_that_cannot_come_back_does_not_shorten_the_detach_time_of_others(
    attached: tuple[RunnerHarness, Log], order: tuple[bool, bool]
) -> None:
    harness, log = attached
    harness.runner.attach(log.run.id)
    for returns in order:
        harness.runner.detach(log.run.id, returns=returns)
    harness.clock.advance(29)
    assert not log.ended
    harness.clock.advance(1)
    assert harness.ends.wait()[0].outcome == ev.Stopped("detach")


def test_a_reader_in_another_process_keeps_the_run_alive(
    attached: tuple[RunnerHarness, Log], monkeypatch: pytest.MonkeyPatch
) -> None:
    harness, log = attached
    looks = iter([True, False, True, False, False])
    monkeypatch.setattr(type(log), "followed", lambda log: next(looks))
    harness.runner.detach(log.run.id)
    for _ in range(4):
        looked = len(harness.spawned)
        harness.clock.advance(30)
        until(lambda looked=looked: not harness.spawned[looked].alive, "a look")  # type: ignore[misc]
        assert not log.ended
    harness.clock.advance(30)
    assert harness.ends.wait()[0].outcome == ev.Stopped("detach")


@pytest.mark.parametrize(("detach", "patience"), [(0.0, RECONNECT_SECONDS), (30.0, 30.0)])
def test_a_leaving_process_gives_clients_time_to_reconnect_to_another_one(
    clock: ManualClock, detach: float, patience: float
) -> None:
    harness = threaded(clock, detach_seconds=detach)
    gate = Gate()
    log = harness.start(Script("a", gate))
    harness.runner.attach(log.run.id)
    gate.wait_reached()
    harness.runner.drain()
    harness.runner.detach(log.run.id)
    clock.advance(patience - 0.1)
    assert not log.ended
    clock.advance(0.1)
    assert harness.ends.wait()[0].outcome == ev.Stopped("detach")
    gate.open()


def test_a_run_that_never_had_a_reader_is_stopped(clock: ManualClock) -> None:
    # Its client may disconnect before the first byte.
    harness = threaded(clock, detach_seconds=30.0)
    gate = Gate()
    harness.start(Script("a", gate))
    gate.wait_reached()
    clock.advance(30)
    assert harness.ends.wait()[0].outcome == ev.Stopped("detach")


def test_with_a_detach_time_of_zero_the_run_ends_with_its_reader(clock: ManualClock) -> None:
    harness = threaded(clock, detach_seconds=0.0)
    gate = Gate()
    script = Script("a", gate)
    log = harness.start(script)
    harness.runner.attach(log.run.id)
    gate.wait_reached()
    harness.runner.detach(log.run.id)
    script.wait_closed()
    assert harness.ends.wait()[0].outcome == ev.Stopped("detach")


def test_without_a_detach_time_the_run_continues(harness: RunnerHarness) -> None:
    log = harness.start(Script("a"))
    harness.runner.attach(log.run.id)
    harness.runner.detach(log.run.id)
    harness.clock.advance(10**6)
    assert not log.ended
    run(harness)
    assert events_of(log)[-1] == ev.Finished()


def test_reader_counts_of_finished_and_foreign_runs_are_removed(harness: RunnerHarness) -> None:
    log = harness.start(Script("a"))
    for _ in range(2):
        harness.runner.attach(log.run.id)
    run(harness)
    harness.runner.attach(log.run.id)
    harness.runner.attach("elsewhere")
    for run_id in (*[log.run.id] * 3, "elsewhere", "unknown"):
        harness.runner.detach(run_id)
    assert harness.runner._readers._readers == {}
