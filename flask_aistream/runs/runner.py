"""Start runs, and know which ones this process is pumping.

What becomes of them then stands beside: who reads them (``readers``), how old they may be (``age``), how
they end (``termination``), and what is done for those that another process has lost or never begun (``orphans``).
"""

from __future__ import annotations

import asyncio
import time
import typing as t
from collections.abc import Callable

from flask_aistream.core import events as ev
from flask_aistream.core.request import ChatRequest
from flask_aistream.core.run import Run
from flask_aistream.errors import Unavailable
from flask_aistream.runs.active import ActiveRun
from flask_aistream.runs.active import ActiveRuns
from flask_aistream.runs.bridge import Bridge
from flask_aistream.runs.bridge import LoopTask
from flask_aistream.runs.deadlines import Deadlines
from flask_aistream.runs.detach import DetachMonitor
from flask_aistream.runs.dispatch import DispatchQueue
from flask_aistream.runs.ended import RunEnded
from flask_aistream.runs.pump import Provider
from flask_aistream.runs.recovery import Recovery
from flask_aistream.runs.restart import ContextFactory
from flask_aistream.runs.restart import ResolveProvider
from flask_aistream.runs.termination import Termination
from flask_aistream.stores.base import Log
from flask_aistream.stores.base import Store
from flask_aistream.timing.concurrency import Concurrency
from flask_aistream.timing.timer import Timer

NOT_QUEUED = ev.Failed("queue_unavailable", "The answer could not be put into the queue.", 503)

BACK_SECONDS = 10.0
"""While the process leaves, readers are told to come back elsewhere: how long they have at least."""


class Runner:
    """All runs of this process.

    :param detach: Seconds after which a run nobody reads is stopped; ``None``: never.
    :param run_seconds: Longest life of a run; ``None`` for any.
    :param max_runs: Runs at once in this process; ``None`` for any number.
    :param max_runs_per_owner: Of one owner, in all processes; ``None`` for any number.
    :param find: How a run that was queued, or has lost its process, is made here; ``None``: not at all.
    :param max_restarts: How often that is done to one run.
    :param queue: Where other processes find runs, to :meth:`execute` them; ``None``: runs are made here.
    :param on_end: Told of every run that ends, exactly once each.
    :param heard: Whether anybody listens to that now. Nothing need be started for nobody.
    :ivar leaving: The process will soon end.
    :ivar draining: Nothing is started any more.
    """

    def __init__(
        self,
        store: Store,
        concurrency: Concurrency,
        timer: Timer,
        *,
        detach: float | None,
        run_seconds: float | None,
        max_runs: int | None,
        max_runs_per_owner: int | None,
        on_end: Callable[[RunEnded], None],
        heard: Callable[[], bool] = lambda: True,
        find: ResolveProvider | None = None,
        max_restarts: int = 0,
        queue: DispatchQueue | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._concurrency = concurrency
        self._bridge = Bridge(concurrency.asyncio_loop)
        self._max_runs = max_runs
        self._max_runs_per_owner = max_runs_per_owner
        self._queue = queue
        self._clock = clock
        self._starting: set[str] = set()
        self._active_runs = active_runs = ActiveRuns(concurrency.lock())
        self._termination = termination = Termination(
            store, concurrency, timer, active_runs, on_end=on_end, heard=heard, clock=clock
        )
        self._readers = DetachMonitor(
            store, concurrency, timer, active_runs, termination, detach=detach
        )
        self._age = Deadlines(
            concurrency, timer, active_runs, termination, longest=run_seconds, clock=clock
        )
        self._recovery = Recovery(
            store,
            concurrency,
            active_runs,
            termination,
            self._begin,
            find=find,
            max_restarts=max_restarts,
            run_seconds=run_seconds,
            queue=queue,
            clock=clock,
        )
        self.leaving = False
        self.draining = False

    @property
    def count(self) -> int:
        """Runs being pumped now."""
        return len(self._active_runs)

    def start(
        self, run: Run, provider: Provider, request: ChatRequest, context_factory: ContextFactory
    ) -> tuple[Log, bool]:
        """Begin a run, or find the one that its idempotency key began.

        :returns: Its log, and whether it is new.
        :raises Unavailable: Draining, or a limit is reached.
        """

        def begin(log: Log) -> None:
            self._begin(ActiveRun(log, provider, request, context_factory, self._clock))

        return self._create(run, request, begin)

    def enqueue(self, run: Run, request: ChatRequest) -> tuple[Log, bool]:
        """The same, for another process to :meth:`execute`. Where the queue is away, the run has failed.

        :param run: With the ``request``, encoded.
        """
        queue = self._queue
        assert queue

        def put(log: Log) -> None:
            if not queue.put(log.run):
                self._termination.early(log, NOT_QUEUED, 0)

        return self._create(run, request, put, owned=False)

    def execute(self, run_id: str, epoch: int) -> ev.Terminal | None:
        """Make a queued run, and return when it has ended, its provider has cleaned up and its end is
        told. If something is raised meanwhile in the thread that waits here, the run is interrupted.

        :param epoch: How many owners it has had.
        :returns: How it ended; ``None``: it had ended already, or somebody else makes it.
        """
        return self._recovery.execute(run_id, epoch)

    def stop(self, log: Log, by: str) -> bool:
        """End a run: first in the log, then in the provider.

        :returns: Whether this call ended it; otherwise it had ended already.
        """
        return self._termination.early(log, ev.Stopped(by))

    def attach(self, run_id: str) -> None:
        """Somebody began to read a run, whoever makes it: that may once be this process. In the end
        :meth:`leave` is to be called."""
        self._readers.attach(run_id)

    def leave(self, run_id: str) -> None:
        """Somebody stopped reading. When nobody is left, the run's time to be found again begins.

        Does not block.
        """
        self._readers.leave(run_id, BACK_SECONDS if self.leaving else 0.0)

    def recover(self) -> None:
        """Go on with the runs of processes that are gone, or end them, and tell of each that nobody else
        has ended."""
        self._recovery.recover(here=not self.leaving)

    def announce_leaving(self) -> None:
        """The process will end: runs that other processes lost are left to others."""
        self.leaving = True

    def drain(self) -> None:
        """Start nothing any more."""
        self.leaving = self.draining = True

    def interrupt_all(self, cause: str, patience: float) -> None:
        """End every run of this process, because the process ends; or leave it to another one.

        :param patience: Seconds to wait for the providers to clean up, and for what other threads are
            still telling of other ends.
        """
        active_runs = list(self._active_runs.values())
        self._termination.at_once(active_runs, ev.Interrupted(cause), self._recovery.release)
        self._termination.settle(active_runs, patience, all_told=True)

    def _create(
        self, run: Run, request: ChatRequest, begin: Callable[[Log], None], *, owned: bool = True
    ) -> tuple[Log, bool]:
        # Whoever asks again is not refused for the run that it started itself.
        found = self._store.started(run.key) if run.key is not None else None
        if found is not None:
            return found, False
        self._admit(run)
        try:
            first = [ev.RunStarted(run.id, run.provider, request.continues)]
            most = self._max_runs_per_owner
            log, new = self._store.create(run, first, owned=owned, most=most)
            if new:
                begin(log)
        finally:
            with self._active_runs.lock:
                self._starting.discard(run.id)
        return log, new

    def _admit(self, run: Run) -> None:
        """Take a place among those that are being started.

        :raises Unavailable: There is none.
        """
        with self._active_runs.lock:
            if self.draining:
                raise Unavailable("The server is shutting down. Try again in a moment.")
            count = len(self._active_runs) + len(self._starting)
            if self._max_runs is not None and count >= self._max_runs:
                raise Unavailable(
                    "The server is running as many answers as it can. Try again in a moment."
                )
            self._starting.add(run.id)

    def _begin(self, live: ActiveRun) -> None:
        with self._active_runs.lock:
            self._active_runs[live.log.run.id] = live
            self._starting.discard(live.log.run.id)
        live.log.on_lost(lambda: self._termination.lose(live))
        self._age.limit(live)
        self._readers.await_first(live)
        try:
            if live.pump.is_async:
                self._begin_async(live, None)
            else:
                live.task = self._concurrency.spawn(lambda: self._run(live))
                live.begun()
        except Exception:
            failed = ev.Failed("provider_error", "The provider could not be started.")
            self._termination.finish(live, failed)
            raise

    def _run(self, live: ActiveRun) -> None:
        # What is true if something that is no Exception ends the task from outside.
        outcome: t.Any = ev.Interrupted("killed")
        try:
            outcome = live.pump.run(self._concurrency.yield_control)
        finally:
            if isinstance(outcome, ev.TERMINAL):
                self._termination.finish(live, outcome)
            else:
                self._begin_async(live, outcome)

    def _begin_async(self, live: ActiveRun, result: t.Any) -> None:
        live.loop_task = LoopTask(
            self._bridge,
            lambda: live.pump.run_async(lambda: asyncio.sleep(0), result),
            lambda task: self._finish_async(live, task),
        )
        live.loop_task.begin()
        live.begun()

    def _finish_async(self, live: ActiveRun, task: asyncio.Task[ev.Terminal]) -> None:
        if not task.cancelled():
            task.exception()  # Asked for, or asyncio complains that nobody has.
        if live.log.ended:  # By somebody else, who tells it.
            self._termination.forget(live)
            return
        if task.cancelled():
            terminal: ev.Terminal = ev.Interrupted("killed")
        elif task.exception() is not None:
            terminal = ev.Failed("provider_error", "The provider failed.")
        else:
            terminal = task.result()

        def finish() -> None:
            self._termination.finish(live, terminal)

        try:
            # Hooks are synchronous code and may block; the loop serves every other async provider too.
            self._concurrency.spawn(finish)
        except RuntimeError:  # No thread can be started.
            finish()
