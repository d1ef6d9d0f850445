"""What the tests of this folder share."""

from __future__ import annotations

import threading
import time
import typing as t
from collections.abc import Callable
from contextlib import nullcontext

from flask_aistream.core import events as ev
from flask_aistream.core.request import ChatRequest
from flask_aistream.core.run import Run
from flask_aistream.core.run import new_run_id
from flask_aistream.runs.ended import RunEnded
from flask_aistream.runs.runner import Runner
from flask_aistream.server.threads import Threads
from flask_aistream.server.threads import ThreadTask
from flask_aistream.stores.base import Log
from flask_aistream.stores.base import Store
from flask_aistream.stores.memory import MemoryStore
from flask_aistream.testing import DEADLINE
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


def until(condition: Callable[[], t.Any], what: str = "it") -> None:
    """Wait for something that happens in another thread."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {DEADLINE} s"
        time.sleep(0.001)


class ThreadsOnManualTime(Threads):
    """Real threads, whose alarms ring by a clock of ours.

    :ivar spawned: Every thread so far.
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
    """Keeps what ``run_ended`` says."""

    def __init__(self) -> None:
        self.told: list[RunEnded] = []
        self._said = threading.Condition()

    def __call__(self, ended: RunEnded) -> None:
        with self._said:
            self.told.append(ended)
            self._said.notify_all()

    def wait(self, count: int = 1) -> list[RunEnded]:
        with self._said:
            assert self._said.wait_for(lambda: len(self.told) >= count, DEADLINE), self.told
        return self.told


class Bench:
    """A runner, and all it needs, in the hands of a test."""

    def __init__(
        self,
        clock: ManualClock,
        concurrency: Threads | ManualConcurrency,
        store: t.Any = None,
        **limits: t.Any,
    ) -> None:
        self.clock = clock
        self.concurrency = concurrency
        self.store: Store = store or MemoryStore(clock=clock)
        self.timer = Timer(concurrency, FlushInterval(0.005, clock=clock), clock)
        self.ends = Ends()
        bounds = {
            "detach": None,
            "run_seconds": None,
            "max_runs": None,
            "max_runs_per_owner": None,
            **limits,
        }
        self.runner = Runner(
            self.store, concurrency, self.timer, on_end=self.ends, clock=clock, **bounds
        )

    @property
    def spawned(self) -> list[ThreadTask]:
        """Every thread so far."""
        assert isinstance(self.concurrency, ThreadsOnManualTime)
        return self.concurrency.spawned

    def start(
        self, provider: Callable[[ChatRequest], t.Any], owner: str | None = None, **fields: t.Any
    ) -> Log:
        run = run_of(owner, **fields)
        return self.runner.start(run, provider, ChatRequest("Hi", []), nullcontext)[0]
