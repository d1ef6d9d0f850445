"""A run ends exactly once, for whatever reason, and releases its resources."""

from __future__ import annotations

import contextlib
import gc
import itertools
import threading
import typing as t
import weakref
from collections.abc import Callable
from collections.abc import Iterator

import pytest

from flask_aistream.core import events as ev
from flask_aistream.core.request import ChatRequest
from flask_aistream.delivery.tail import Tail
from flask_aistream.runs.call import ProviderCall
from flask_aistream.runs.termination import STUBBORN_SECONDS
from flask_aistream.stores.base import Log
from flask_aistream.testing import DEADLINE
from flask_aistream.testing import Gate
from flask_aistream.testing import Script
from flask_aistream.timing.flush import FlushInterval
from tests.doubles import ManualClock
from tests.runs.support import SCRIPTS
from tests.runs.support import AsyncScript
from tests.runs.support import RunnerHarness
from tests.runs.support import call_of
from tests.runs.support import events_of
from tests.runs.support import run
from tests.runs.support import run_of
from tests.runs.support import threaded
from tests.runs.support import until
from tests.runs.support import working_of


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


def test_an_async_provider_whose_context_fails_ends_as_failed(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    @contextlib.contextmanager
    def broken_context() -> Iterator[None]:
        yield
        raise RuntimeError("teardown failed")

    harness = threaded(clock)
    call = ProviderCall(AsyncScript("a"), ChatRequest("Hi", []), broken_context)
    log = harness.runner.start(run_of(), call)[0]
    harness.ends.wait()
    assert events_of(log) == ["a", ev.Failed("provider_error", "The provider failed.")]
    assert "teardown failed" in caplog.text


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
