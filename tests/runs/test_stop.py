"""Stopping a run interrupts its provider, and nothing else."""

from __future__ import annotations

import asyncio
import threading
import typing as t
from collections.abc import Iterator

import pytest

from flask_aistream.core import events as ev
from flask_aistream.core.request import ChatRequest
from flask_aistream.runs.active import ActiveRun
from flask_aistream.runs.ended import RunEnded
from flask_aistream.runs.termination import STUBBORN_SECONDS
from flask_aistream.stores.base import Log
from flask_aistream.testing import DEADLINE
from flask_aistream.testing import Gate
from flask_aistream.testing import Script
from tests.doubles import ManualClock
from tests.doubles import ManualTask
from tests.runs.support import SCRIPTS
from tests.runs.support import AsyncScript
from tests.runs.support import RunnerHarness
from tests.runs.support import active_run
from tests.runs.support import call_of
from tests.runs.support import events_of
from tests.runs.support import run
from tests.runs.support import run_of
from tests.runs.support import threaded
from tests.runs.support import until
from tests.runs.support import working_of


def test_stop_returns_whether_it_ended_the_run(clock: ManualClock) -> None:
    harness = threaded(clock)
    gate = Gate()
    log = harness.start(Script("a", gate))
    gate.wait_reached()
    assert [harness.runner.stop(log, "client"), harness.runner.stop(log, "client")] == [True, False]


def test_a_run_stopped_by_its_own_provider_is_announced(clock: ManualClock) -> None:
    harness = threaded(clock)
    started: list[Log] = []
    gate = Gate()
    script = Script("a", gate, lambda: harness.runner.stop(started[0], "application"), "b")
    started.append(harness.start(script))
    gate.open()
    script.wait_closed()
    assert [ended.outcome for ended in harness.ends.wait()] == [ev.Stopped("application")]
    assert events_of(started[0]) == ["a", ev.Stopped("application")]


def test_a_finished_run_cannot_be_stopped(harness: RunnerHarness) -> None:
    log = harness.start(Script("a"))
    run(harness)
    assert not harness.runner.stop(log, "client")
    assert events_of(log)[-1] == ev.Finished()


def test_the_end_is_in_the_log_before_the_provider_is_interrupted(clock: ManualClock) -> None:
    harness = threaded(clock)
    ended: list[bool] = []
    gate = Gate()

    def provider(request: ChatRequest) -> Iterator[str]:
        try:
            yield "a"
            gate.pass_through()
        finally:
            ended.append(log.ended)

    log = harness.start(provider)
    gate.wait_reached()
    harness.runner.stop(log, "client")
    until(lambda: ended)
    assert ended == [True]


# The interruption may come within a callback of the interpreter, which reports it and continues.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@SCRIPTS
def test_a_run_stopped_while_it_starts_is_interrupted(
    clock: ManualClock, script: type[Script]
) -> None:
    # A retried start with the same key finds the run before its provider is called.
    for _ in range(50):
        harness = threaded(clock)
        gate = Gate()
        key_run = run_of(key="k")
        stopper = threading.Thread(target=stop_as_soon_as_it_exists, args=(harness,))
        stopper.start()
        harness.runner.start(key_run, call_of(script("a", gate)))
        stopper.join(DEADLINE)
        assert [ended.outcome for ended in harness.ends.wait()] == [ev.Stopped("client")]
        until(lambda harness=harness: working_of(harness) == [], "the provider's end")  # type: ignore[misc]
        if script is AsyncScript:
            until(lambda harness=harness: tasks_of(harness) == 0, "the task's end")  # type: ignore[misc]


def stop_as_soon_as_it_exists(harness: RunnerHarness) -> None:
    until(lambda: harness.store.started("k"), "the run")
    log = harness.store.started("k")
    assert log is not None
    harness.runner.stop(log, "client")


def tasks_of(harness: RunnerHarness) -> int:
    return len(asyncio.all_tasks(harness.concurrency.asyncio_loop()))


@pytest.mark.parametrize("provider", ["async def", "function of a coroutine"])
def test_an_async_provider_that_awaits_is_cancelled(clock: ManualClock, provider: str) -> None:
    for _ in range(20):
        harness = threaded(clock)
        gate = Gate()
        script = AsyncScript("a", gate)
        log = harness.start(script if provider == "async def" else lambda r, s=script: s(r))  # type: ignore[misc]
        gate.wait_reached()
        harness.runner.stop(log, "client")
        script.wait_closed()
        assert script.cancelled


def test_a_stop_calls_the_on_stop_callback(clock: ManualClock) -> None:
    harness = threaded(clock)
    gate = Gate()
    stopped = threading.Event()

    def provider(request: ChatRequest) -> Iterator[str]:
        request.on_stop(stopped.set)
        yield "a"
        gate.pass_through()

    log = harness.start(provider)
    gate.wait_reached()
    harness.runner.stop(log, "client")
    assert stopped.wait(DEADLINE)


def test_an_on_stop_callback_added_after_the_stop_is_called_at_once(harness: RunnerHarness) -> None:
    called: list[bool] = []

    def provider(request: ChatRequest) -> Iterator[str]:
        harness.runner.stop(harness.store.open(request.run), "client")
        request.on_stop(lambda: called.append(True))
        yield "a"

    run_ = run_of()
    harness.runner.start(run_, call_of(provider, ChatRequest("", [], run=run_.id)))
    run(harness)
    assert called == [True]


def test_an_exception_in_an_on_stop_callback_is_logged_and_the_provider_interrupted(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    harness = threaded(clock)
    gate = Gate()
    script = Script(gate)

    def provider(request: ChatRequest) -> Iterator[str]:
        request.on_stop(lambda: 1 / 0)
        return script(request)

    log = harness.start(provider)
    gate.wait_reached()
    assert harness.runner.stop(log, "client")
    script.wait_closed()
    assert "ZeroDivisionError" in caplog.text


def test_a_provider_that_ignores_its_interruption_is_logged(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    harness = threaded(clock)
    begun, go_on = threading.Event(), threading.Event()

    def stubborn(request: ChatRequest) -> Iterator[str]:
        begun.set()
        go_on.wait(DEADLINE)
        yield "a"

    log = harness.start(stubborn)
    begun.wait(DEADLINE)
    harness.runner.stop(log, "client")
    clock.advance(STUBBORN_SECONDS)
    assert f"Run {log.run.id[:8]}" in caplog.text
    assert "still working" in caplog.text
    go_on.set()


def test_a_stop_does_not_interrupt_a_receiver_of_run_ended(clock: ManualClock) -> None:
    # The run has just finished, and a receiver works in the provider's thread.
    harness = threaded(clock)
    gate = Gate()
    billed = threading.Event()

    def bill(ended: RunEnded) -> None:
        gate.pass_through()
        billed.set()

    harness.ends.receiver = bill
    log = harness.start(Script("a"))
    gate.wait_reached()
    assert not harness.runner.stop(log, "client")
    harness.runner.interrupt_all("drain", 0)
    gate.open()
    assert billed.wait(DEADLINE)


def test_a_stop_between_an_end_and_its_announcement_interrupts_nothing(clock: ManualClock) -> None:
    harness = threaded(clock)
    gate, billed = Gate(), threading.Event()
    remove = harness.runner._active_runs.remove

    def slowly(run: ActiveRun) -> bool:
        if threading.current_thread().name == "aistream-run":
            gate.pass_through()
        return remove(run)

    harness.runner._active_runs.remove = slowly  # type: ignore[method-assign]
    harness.ends.receiver = lambda ended: billed.set()
    log = harness.start(Script("a"))
    gate.wait_reached()  # The end is in the log, and the run is still active.
    assert not harness.runner.stop(log, "client")
    harness.runner.interrupt_all("drain", 0)
    gate.open()
    assert billed.wait(DEADLINE), "the receiver was interrupted"


def test_a_lost_run_callback_does_not_interrupt_the_thread_that_ended_the_run(
    harness: RunnerHarness,
) -> None:
    # The store has written the end, and reports it as if another process had.
    log = harness.start(Script("a"))
    live = active_run(harness, log)
    end = log.end

    def end_and_lose(*args: t.Any, **options: t.Any) -> bool:
        won = end(*args, **options)
        log.end = end  # type: ignore[method-assign]
        harness.runner._termination.on_lost(live)
        run(harness)
        return won

    log.end = end_and_lose  # type: ignore[method-assign]
    run(harness)
    assert isinstance(live.task, ManualTask)
    assert (live.task.interrupted, len(harness.ends.received), harness.runner.count) == (
        False,
        1,
        0,
    )
