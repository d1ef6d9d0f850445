"""Runs are started, stopped, detached and drained, and each ends exactly once."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
import typing as t
import weakref
from collections.abc import AsyncIterator
from collections.abc import Callable
from collections.abc import Iterator

import pytest

from flask_aistream.core import events as ev
from flask_aistream.core.request import ChatRequest
from flask_aistream.delivery.tail import Tail
from flask_aistream.errors import Unavailable
from flask_aistream.runs.active import ActiveRun
from flask_aistream.runs.ended import RunEnded
from flask_aistream.runs.runner import RECONNECT_SECONDS
from flask_aistream.runs.termination import STUBBORN_SECONDS
from flask_aistream.stores.base import Log
from flask_aistream.testing import DEADLINE
from flask_aistream.testing import Gate
from flask_aistream.testing import Script
from flask_aistream.timing.concurrency import Task
from flask_aistream.timing.flush import FlushInterval
from tests.doubles import ManualClock
from tests.doubles import ManualConcurrency
from tests.doubles import ManualTask
from tests.runs.support import RunnerHarness
from tests.runs.support import ThreadsOnManualTime
from tests.runs.support import active_run
from tests.runs.support import call_of
from tests.runs.support import events_of
from tests.runs.support import run_of
from tests.runs.support import until


@pytest.fixture
def harness(clock: ManualClock) -> RunnerHarness:
    """Everything in the test's thread; providers run when it calls ``run``."""
    return RunnerHarness(clock, ManualConcurrency(clock))


def threaded(clock: ManualClock, **limits: t.Any) -> RunnerHarness:
    """Providers in threads of their own, on manual time."""
    return RunnerHarness(clock, ThreadsOnManualTime(clock), **limits)


def run(harness: RunnerHarness) -> None:
    assert isinstance(harness.concurrency, ManualConcurrency)
    harness.concurrency.run()


class AsyncScript(Script):
    """An ``async def`` script. It waits at a ``Gate`` without blocking the loop."""

    def __init__(self, *steps: t.Any) -> None:
        super().__init__(*steps)
        self.cancelled = False

    async def __call__(self, request: ChatRequest) -> t.Any:  # type: ignore[override]
        self.requests.append(request)
        return self._play_async()

    async def _play_async(self) -> AsyncIterator[t.Any]:
        try:
            for step in self._steps:
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, Gate):
                    step._reached.set()
                    while not step._opened.is_set():
                        await asyncio.sleep(0.001)
                else:
                    yield step
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        finally:
            self._closed.release()


SCRIPTS = pytest.mark.parametrize("script", [Script, AsyncScript])


# A run.


def test_a_run_starts_with_a_run_started_event(harness: RunnerHarness) -> None:
    log = harness.start(Script("a"))
    assert log.read(-1).events == [ev.RunStarted(log.run.id, "chat")]
    run(harness)
    assert events_of(log) == ["a", ev.Finished()]


def test_run_ended_has_outcome_durations_text_and_usage(harness: RunnerHarness) -> None:
    def provider(request: ChatRequest) -> Iterator[t.Any]:
        harness.clock.advance(2)
        yield "Hel"
        harness.clock.advance(3)
        yield "lo"
        yield ev.Usage(1, 2)

    log = harness.start(provider, owner="ann")
    harness.clock.advance(1)
    run(harness)
    (ended,) = harness.ends.received
    assert (ended.run, ended.outcome) == (log.run, ev.Finished())
    assert (ended.seconds, ended.first_seconds) == (6, 3)
    assert (ended.text, ended.usage) == ("Hello", ev.Usage(1, 2))
    assert ended.message.status == "finished"


def test_a_run_without_events_has_no_time_of_the_first_event(harness: RunnerHarness) -> None:
    harness.start(Script())
    run(harness)
    assert harness.ends.received[0].first_seconds is None
    assert harness.ends.received[0].text == ""


def test_an_exception_in_a_receiver_is_logged_and_the_run_ends(
    harness: RunnerHarness, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(ended: RunEnded) -> None:
        raise RuntimeError("billing is down")

    harness.ends.receiver = fail
    log = harness.start(Script("a"))
    run(harness)
    assert log.ended
    assert harness.runner.count == 0
    assert "billing is down" in caplog.text


# A run ends once, for whatever reason.


def finish(harness: RunnerHarness, log: Log, gate: Gate) -> None:
    gate.open()


def stop(harness: RunnerHarness, log: Log, gate: Gate) -> None:
    assert harness.runner.stop(log, "client")


def detach(harness: RunnerHarness, log: Log, gate: Gate) -> None:
    harness.runner.detach(log.run.id)
    harness.clock.advance(30)


def expire(harness: RunnerHarness, log: Log, gate: Gate) -> None:
    harness.clock.advance(3600)


def drain(harness: RunnerHarness, log: Log, gate: Gate) -> None:
    harness.runner.drain()
    harness.runner.interrupt_all("drain", 0)


ENDINGS = pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (finish, ev.Finished()),
        (stop, ev.Stopped("client")),
        (detach, ev.Stopped("detach")),
        (
            expire,
            ev.Failed(
                "run_timeout", "The run was ended after 3600.0 seconds, the longest allowed.", 504
            ),
        ),
        (drain, ev.Interrupted("drain")),
    ],
)


@SCRIPTS
@ENDINGS
def test_every_reason_ends_a_run_once(
    clock: ManualClock,
    script: type[Script],
    end: Callable[[RunnerHarness, Log, Gate], None],
    outcome: ev.Terminal,
) -> None:
    harness = threaded(clock, detach_seconds=30.0, run_seconds=3600.0)
    gate = Gate()
    provider = script("a", gate, "b")
    log = harness.start(provider)
    harness.runner.attach(log.run.id)
    gate.wait_reached()
    end(harness, log, gate)
    harness.ends.wait()
    provider.wait_closed()
    until(lambda: harness.runner.count == 0, "the removal of the run")
    clock.advance(7200)  # Its timers are cancelled.
    assert [ended.outcome for ended in harness.ends.received] == [outcome]
    assert harness.ends.received[0].text == ("ab" if outcome == ev.Finished() else "a")
    assert events_of(log)[-1] == outcome


@SCRIPTS
@pytest.mark.parametrize("steps", [(), ("a",)])
def test_a_failed_run_ends_once(
    clock: ManualClock, script: type[Script], steps: tuple[str, ...]
) -> None:
    harness = threaded(clock)
    log = harness.start(script(*steps, ValueError("secret")))
    (ended,) = harness.ends.wait()
    assert isinstance(ended.outcome, ev.Failed)
    assert events_of(log) == [*steps, ended.outcome]


@SCRIPTS
def test_system_exit_in_a_provider_ends_only_its_run(
    clock: ManualClock, script: type[Script]
) -> None:
    harness = threaded(clock)
    harness.start(script("a", SystemExit(1)))
    harness.ends.wait()
    assert isinstance(harness.ends.received[0].outcome, ev.Failed)
    harness.start(script("b"))
    assert [ended.text for ended in harness.ends.wait(2)] == ["a", "b"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_base_exception_ends_the_run_as_interrupted(clock: ManualClock) -> None:
    harness = threaded(clock)
    harness.start(Script("a", KeyboardInterrupt()))
    assert [ended.outcome for ended in harness.ends.wait()] == [ev.Interrupted("killed")]
    until(lambda: not working_of(harness), "the end of the thread")


def test_a_run_whose_thread_cannot_start_fails(harness: RunnerHarness) -> None:
    def no_thread(work: Callable[[], None]) -> t.Any:
        raise RuntimeError("can't start new thread")

    harness.concurrency.spawn = no_thread  # type: ignore[method-assign]
    run_ = run_of()
    with pytest.raises(RuntimeError):
        harness.runner.start(run_, call_of(Script("a")))
    assert isinstance(events_of(harness.store.open(run_.id))[-1], ev.Failed)
    assert harness.runner.count == 0
    assert len(harness.ends.received) == 1


def run_out_of_threads(harness: RunnerHarness) -> None:
    def fail(work: Callable[[], None]) -> t.NoReturn:
        raise RuntimeError("can't start new thread")

    harness.concurrency.spawn = fail  # type: ignore[method-assign]


def test_an_end_is_announced_even_if_no_thread_can_be_started(clock: ManualClock) -> None:
    harness, gate = threaded(clock), Gate()
    log = harness.start(Script("a", gate))
    gate.wait_reached()
    run_out_of_threads(harness)
    assert harness.runner.stop(log, "client")
    assert [ended.outcome for ended in harness.ends.received] == [ev.Stopped("client")]


def test_an_async_provider_ends_even_if_no_thread_can_be_started(clock: ManualClock) -> None:
    harness, gate = threaded(clock), Gate()
    log = harness.start(AsyncScript("a", gate))
    gate.wait_reached()
    run_out_of_threads(harness)
    gate.open()
    harness.ends.wait()
    assert events_of(log) == ["a", ev.Finished()]


def test_concurrent_ends_of_a_run_end_it_once(clock: ManualClock) -> None:
    for _ in range(20):
        harness = threaded(clock, detach_seconds=0.0)
        gate = Gate()
        log = harness.start(Script("a", gate))
        harness.runner.attach(log.run.id)
        gate.wait_reached()
        ends = [
            lambda harness=harness, log=log: harness.runner.stop(log, "client"),  # type: ignore[misc]
            lambda harness=harness, log=log: harness.runner.detach(log.run.id),  # type: ignore[misc]
            lambda harness=harness: harness.runner.interrupt_all("drain", 0),  # type: ignore[misc]
            gate.open,
        ]
        threads = [threading.Thread(target=end) for end in ends]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
        harness.ends.wait()
        until(lambda harness=harness: harness.runner.count == 0)  # type: ignore[misc]
        assert len(harness.ends.received) == 1
        assert events_of(log)[-1] == harness.ends.received[0].outcome


# Stop.


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


def working_of(harness: RunnerHarness) -> list[Task]:
    return [task for task in harness.spawned if task.alive]


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
    assert log.run.id in caplog.text
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


# Detach.


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


def test_with_a_detach_time_of_zero_only_a_stop_request_can_come_before_the_end(
    clock: ManualClock,
) -> None:
    harness = threaded(clock, detach_seconds=0.0)
    gate = Gate()
    script = Script("a", gate)
    log = harness.start(script)
    harness.runner.attach(log.run.id)
    gate.wait_reached()
    harness.runner.detach(log.run.id)
    clock.advance(0.9)
    assert not log.ended
    clock.advance(0.1)
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


# Limits.


def test_more_runs_than_the_limit_are_rejected(clock: ManualClock) -> None:
    harness = RunnerHarness(clock, ManualConcurrency(clock), max_runs=2)
    logs = [harness.start(Script("a")) for _ in range(2)]
    with pytest.raises(Unavailable) as caught:
        harness.start(Script("a"))
    assert caught.value.status == 503
    harness.runner.stop(logs[0], "client")
    harness.start(Script("a"))


def test_more_runs_of_one_owner_than_the_limit_are_rejected(clock: ManualClock) -> None:
    harness = RunnerHarness(clock, ManualConcurrency(clock), max_runs_per_owner=2)
    for owner in ("ann", "bob", "ann", None, None, None):
        harness.start(Script("a"), owner)
    with pytest.raises(Unavailable, match="2 live runs") as caught:
        harness.start(Script("a"), "ann")
    assert caught.value.status == 429
    harness.start(Script("a"), "bob")


@pytest.mark.parametrize("limits", [{"max_runs": 3}, {"max_runs_per_owner": 3}])
def test_concurrent_starts_do_not_exceed_a_limit(
    clock: ManualClock, limits: dict[str, int]
) -> None:
    harness = threaded(clock, **limits)
    gate = Gate()
    barrier = threading.Barrier(8)

    started: list[int] = []
    rejected: list[int] = []

    def start(number: int) -> None:
        barrier.wait(DEADLINE)
        try:
            harness.start(Script(gate), "ann")
            started.append(number)
        except Unavailable:
            rejected.append(number)

    threads = [threading.Thread(target=start, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert (len(started), len(rejected)) == (3, 5)
    gate.open()
    harness.ends.wait(3)
    harness.start(Script(), "ann")  # A rejected start holds no place.


def test_a_rejected_run_leaves_no_log(clock: ManualClock) -> None:
    harness = RunnerHarness(clock, ManualConcurrency(clock), max_runs=1)
    harness.start(Script("a"))
    with pytest.raises(Unavailable):
        harness.start(Script("a"), key="k")
    assert harness.store.started("k") is None


# A retried start.


def test_a_retried_start_finds_its_run(harness: RunnerHarness) -> None:
    script = Script("a")
    first = harness.start(script, key="k")
    again = harness.start(script, key="k")
    run(harness)
    assert first.run.id == again.run.id
    assert len(script.requests) == 1
    assert len(harness.ends.received) == 1


@pytest.mark.parametrize("limits", [{"max_runs": 1}, {"max_runs_per_owner": 1}])
def test_a_retried_start_is_exempt_from_limits(
    clock: ManualClock, limits: dict[str, t.Any]
) -> None:
    harness = RunnerHarness(clock, ManualConcurrency(clock), **limits)
    first = harness.start(Script("a"), "ann", key="k")
    assert harness.start(Script("a"), "ann", key="k").run.id == first.run.id


def test_a_retried_start_finds_its_run_while_draining(harness: RunnerHarness) -> None:
    first = harness.start(Script("a"), key="k")
    harness.runner.drain()
    assert harness.start(Script("a"), key="k").run.id == first.run.id


# Drain.


def test_a_draining_process_rejects_starts_and_finishes_its_runs(harness: RunnerHarness) -> None:
    log = harness.start(Script("a"))
    harness.runner.drain()
    with pytest.raises(Unavailable):
        harness.start(Script("b"))
    run(harness)
    assert events_of(log) == ["a", ev.Finished()]


@SCRIPTS
def test_interrupt_all_waits_for_the_clean_up_of_providers(
    clock: ManualClock, script: type[Script]
) -> None:
    harness = threaded(clock)
    gates = [Gate() for _ in range(5)]
    scripts = [script("a", gate) for gate in gates]
    for one in scripts:
        harness.start(one)
    for gate in gates:
        gate.wait_reached()
    harness.runner._termination._clock = real_clock()
    harness.runner.interrupt_all("drain", DEADLINE)
    # It returned because they were done, not because of its timeout.
    for one in scripts:
        one.wait_closed(0)
    assert [ended.outcome for ended in harness.ends.received] == [ev.Interrupted("drain")] * 5


def test_every_run_is_ended_before_the_first_end_is_announced(clock: ManualClock) -> None:
    # A receiver may be slow, and the process has little time left.
    harness = threaded(clock)
    gates = [Gate() for _ in range(3)]
    logs = [harness.start(Script(gate)) for gate in gates]
    for gate in gates:
        gate.wait_reached()
    ended: list[bool] = []
    harness.ends.receiver = lambda _: ended.append(all(log.ended for log in logs))
    harness.runner.interrupt_all("drain", 0)
    assert ended == [True] * 3


def real_clock() -> Callable[[], float]:
    import time

    return time.monotonic


# Resources are released.


@ENDINGS
def test_the_log_of_an_ended_run_is_released(
    clock: ManualClock,
    end: Callable[[RunnerHarness, Log, Gate], None],
    outcome: ev.Terminal,
) -> None:
    harness = threaded(clock, detach_seconds=30.0, run_seconds=3600.0)
    gate = Gate()
    log = harness.start(Script("a", gate))
    harness.runner.attach(log.run.id)
    gate.wait_reached()
    end(harness, log, gate)
    harness.ends.wait()
    until(lambda: not working_of(harness), "the end of the provider's thread")
    clock.advance(STUBBORN_SECONDS)
    harness.ends.received.clear()
    harness.spawned.clear()
    gone = weakref.ref(log)
    harness.store._logs.clear()  # type: ignore[attr-defined]
    del log
    gc.collect()
    assert gone() is None


def test_a_thousand_runs_leave_no_state_in_the_runner(harness: RunnerHarness) -> None:
    for _ in range(1000):
        log = harness.start(Script("a"))
        harness.runner.attach(log.run.id)
        run(harness)
        harness.runner.detach(log.run.id)
    assert harness.runner.count == 0
    assert len(harness.ends.received) == 1000
    harness.clock.advance(3600)
    assert harness.timer._timers == []


def test_all_readers_of_a_fast_provider_receive_its_stop(clock: ManualClock) -> None:
    # The stop interrupts the provider's thread at any instruction: most often while it wakes readers.
    harness = threaded(clock)
    for _ in range(50):
        log = harness.start(lambda request: itertools.repeat("x"))
        seen: list[ev.Event] = []

        def read(log: Log = log, seen: list[ev.Event] = seen) -> None:
            tail = Tail(
                log,
                0,
                harness.concurrency.waiter(),
                harness.timer,
                heartbeat=None,
                flush_interval=FlushInterval(0.0),
                clock=clock,
            )
            for page in tail:
                assert page is not None
                last = page.events[-1]
            seen.append(last)

        readers = [threading.Thread(target=read, daemon=True) for _ in range(4)]
        for reader in readers:
            reader.start()
        until(lambda log=log: log.read(0, 1).events)  # type: ignore[misc]
        assert harness.runner.stop(log, "client")
        for reader in readers:
            reader.join(DEADLINE)
        assert seen == [ev.Stopped("client")] * 4
    until(lambda: not working_of(harness), "the end of the threads")
    assert len(harness.ends.wait(50)) == 50
