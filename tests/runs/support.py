"""Shared by the tests of runs."""

from __future__ import annotations

import asyncio
import threading
import time
import typing as t
from collections.abc import AsyncIterator
from collections.abc import Callable
from contextlib import nullcontext

import pytest

from flask_aistream.core import events as ev
from flask_aistream.core.request import ChatRequest
from flask_aistream.core.run import Run
from flask_aistream.core.run import new_run_id
from flask_aistream.runs.active import ActiveRun
from flask_aistream.runs.call import Provider
from flask_aistream.runs.call import ProviderCall
from flask_aistream.runs.call import ResolveProvider
from flask_aistream.runs.dispatch import DispatchQueue
from flask_aistream.runs.ended import RunEnded
from flask_aistream.runs.policy import RunPolicy
from flask_aistream.runs.runner import Runner
from flask_aistream.server.threads import Threads
from flask_aistream.server.threads import ThreadTask
from flask_aistream.stores.base import Log
from flask_aistream.stores.base import Store
from flask_aistream.stores.memory import MemoryStore
from flask_aistream.testing import DEADLINE
from flask_aistream.testing import Gate
from flask_aistream.testing import Script
from flask_aistream.timing.concurrency import Task
from flask_aistream.timing.flush import FlushInterval
from flask_aistream.timing.timer import Timer
from tests.doubles import ManualAlarm
from tests.doubles import ManualClock
from tests.doubles import ManualConcurrency

REQUEST = ChatRequest("Hi", [{"role": "user", "content": "Hi"}])


def run_of(owner: str | None = None, **fields: t.Any) -> Run:
    return Run(new_run_id(), "chat", 0.0, owner, **fields)


def new_log(store: MemoryStore | None = None) -> Log:
    run = run_of()
    return (store or MemoryStore()).create(run, [ev.RunStarted(run.id, "chat")])[0]


def events_of(log: Log) -> list[ev.Event]:
    """All events but ``RunStarted``."""
    return list(log.read(0).events)


def active_run(harness: RunnerHarness, log: Log) -> ActiveRun:
    run = harness.runner._active_runs.get(log.run.id)
    assert run is not None
    return run


def until(condition: Callable[[], t.Any], what: str = "it") -> None:
    """Wait until another thread makes ``condition`` true."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {DEADLINE} s"
        time.sleep(0.001)


class ThreadsOnManualTime(Threads):
    """Real threads, with alarms on a manual clock.

    :ivar spawned: All threads so far.
    """

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock
        self.spawned: list[ThreadTask] = []

    def spawn(self, work: Callable[[], None]) -> ThreadTask:
        self.spawned.append(super().spawn(work))
        return self.spawned[-1]

    def alarm(self, ring: Callable[[], None]) -> ManualAlarm:  # type: ignore[override]
        return self._clock.alarm(ring)


class Ends:
    """Collects announced ends.

    :ivar receiver: Called with each.
    """

    listening = True

    def __init__(self) -> None:
        self.received: list[RunEnded] = []
        self.receiver: Callable[[RunEnded], object] = lambda ended: None
        self._changed = threading.Condition()

    def run_ended(self, ended: RunEnded) -> None:
        self.receiver(ended)
        with self._changed:
            self.received.append(ended)
            self._changed.notify_all()

    def wait(self, count: int = 1) -> list[RunEnded]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.received) >= count, DEADLINE), (
                self.received
            )
        return self.received


def call_of(provider: Provider, request: ChatRequest | None = None) -> ProviderCall:
    return ProviderCall(provider, request or ChatRequest("Hi", []), nullcontext)


class RunnerHarness:
    """A runner with everything it needs.

    :param limits: Fields of its ``RunPolicy``.
    """

    def __init__(
        self,
        clock: ManualClock,
        concurrency: Threads | ManualConcurrency,
        store: t.Any = None,
        *,
        queue: DispatchQueue | None = None,
        resolve: ResolveProvider | None = None,
        **limits: t.Any,
    ) -> None:
        self.clock = clock
        self.concurrency = concurrency
        self.store: Store = store or MemoryStore(clock=clock)
        self.timer = Timer(concurrency, FlushInterval(0.005, clock=clock), clock)
        self.ends = Ends()
        self.runner = Runner(
            self.store,
            concurrency,
            self.timer,
            RunPolicy(**limits),
            self.ends,
            queue=queue,
            resolve=resolve,
            clock=clock,
        )

    @property
    def spawned(self) -> list[ThreadTask]:
        """All threads so far."""
        assert isinstance(self.concurrency, ThreadsOnManualTime)
        return self.concurrency.spawned

    def start(
        self, provider: Callable[[ChatRequest], t.Any], owner: str | None = None, **fields: t.Any
    ) -> Log:
        run = run_of(owner, **fields)
        return self.runner.start(run, call_of(provider))[0]


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


def working_of(harness: RunnerHarness) -> list[Task]:
    return [task for task in harness.spawned if task.alive]
