"""Start runs, end them, and know which ones this process is pumping."""

from __future__ import annotations

import asyncio
import logging
import math
import time
import typing as t
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import replace

from flask_aistream.core import events as ev
from flask_aistream.core.request import ChatRequest
from flask_aistream.core.run import Run
from flask_aistream.errors import LogEnded
from flask_aistream.errors import Unavailable
from flask_aistream.runs.bridge import LoopTask
from flask_aistream.runs.concurrency import Concurrency
from flask_aistream.runs.ended import RunEnded
from flask_aistream.runs.ended import fold_of
from flask_aistream.runs.live import Live
from flask_aistream.runs.pump import Provider
from flask_aistream.runs.pump import Pump
from flask_aistream.runs.queue import Queue
from flask_aistream.runs.restart import Find
from flask_aistream.runs.restart import Surroundings
from flask_aistream.runs.restart import past_of
from flask_aistream.runs.timer import Handle
from flask_aistream.runs.timer import Timer
from flask_aistream.stores.base import Log
from flask_aistream.stores.base import Store

logger = logging.getLogger("flask_aistream")

STORE_GONE = ev.Failed(
    "store_unavailable", "What this run says could not be kept any more, so it was ended.", 503
)

OWNER_LOST = ev.Interrupted("owner-lost")

NOT_BEGUN = ev.Failed("queue_timeout", "No worker was free to make this answer in time.", 503)

NOT_QUEUED = ev.Failed("queue_unavailable", "The answer could not be put into the queue.", 503)

LOOK_SECONDS = 1.0
"""Least time between two looks whether a run is still read in another process."""

CLEANUP_SECONDS = 1.0
"""Time that a provider gets to clean up when what waits for its run was broken off."""

STUBBORN_SECONDS = 5.0
"""After being interrupted for so long, a provider that still works is named in the server's log."""

BACK_SECONDS = 10.0
"""While the process leaves, readers are told to come back elsewhere: how long they have at least."""

UNREAD_SECONDS = 5.0
"""A run that nobody has begun to read after so long (and ``detach``) has no client any more."""


OVERDUE = 0.01
"""By how much of its longest life a run may be too old before it is ended."""


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
        find: Find | None = None,
        max_restarts: int = 0,
        queue: Queue | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._concurrency = concurrency
        self._timer = timer
        self._detach = detach
        self._run_seconds = run_seconds
        self._max_runs = max_runs
        self._max_runs_per_owner = max_runs_per_owner
        self._on_end = on_end
        self._heard = heard
        self._find = find
        self._max_restarts = max_restarts
        self._queue = queue
        self._clock = clock
        self._live: dict[str, Live] = {}
        self._looking: Handle | None = None
        self._looking_at = math.inf
        self._starting: set[str] = set()
        self._readers: dict[str, int] = {}
        self._owed = 0
        self._lock = concurrency.lock()
        self.leaving = False
        self.draining = False

    def start(
        self, run: Run, provider: Provider, request: ChatRequest, surroundings: Surroundings
    ) -> tuple[Log, bool]:
        """Begin a run, or find the one that its idempotency key began.

        :returns: Its log, and whether it is new.
        :raises Unavailable: Draining, or a limit is reached.
        """

        def begin(log: Log) -> None:
            self._pump(log, provider, request, surroundings)

        return self._create(run, request, begin)

    def enqueue(self, run: Run, request: ChatRequest) -> tuple[Log, bool]:
        """The same, for another process to :meth:`execute`. Where the queue is away, the run has failed.

        :param run: With the ``request``, encoded.
        """
        queue = self._queue
        assert queue

        def put(log: Log) -> None:
            if not queue.put(log.run):
                self._end_early(log, NOT_QUEUED, 0)

        return self._create(run, request, put, owned=False)

    def execute(self, run_id: str, epoch: int) -> ev.Terminal | None:
        """Make a queued run, and return when it has ended, its provider has cleaned up and its end is
        told. If something is raised meanwhile in the thread that waits here, the run is interrupted.

        :param epoch: How many owners it has had.
        :returns: How it ended; ``None``: it had ended already, or somebody else makes it.
        """
        log = self._store.adopt(run_id, epoch)
        if log is None:
            return None
        live = self._adopted(log)
        if live is None:
            return fold_of(log).terminal
        waiter = self._concurrency.waiter()
        live.on_over = waiter.wake
        try:
            self._begin(live)
            while self._live.get(run_id) is live:
                waiter.wait()
            self._until(lambda: not (live.owed or live.working), STUBBORN_SECONDS)
        except BaseException:
            self._interrupt_now([live], ev.Interrupted("drain"))
            self._until(lambda: not (live.owed or live.working), CLEANUP_SECONDS)
            raise
        return fold_of(log).terminal

    def stop(self, log: Log, by: str) -> bool:
        """End a run: first in the log, then in the provider.

        :returns: Whether this call ended it; otherwise it had ended already.
        """
        return self._end_early(log, ev.Stopped(by))

    def attach(self, run_id: str) -> None:
        """Somebody began to read a run, whoever makes it: that may once be this process. In the end
        :meth:`leave` is to be called."""
        with self._lock:
            self._readers[run_id] = self._readers.get(run_id, 0) + 1
            live = self._live.get(run_id)
            if live:
                cancel(live.leaving)

    def leave(self, run_id: str) -> None:
        """Somebody stopped reading. When nobody is left, the run's time to be found again begins.

        Does not block.
        """
        with self._lock:
            left = self._readers.pop(run_id, 1) - 1
            if left:
                self._readers[run_id] = left
            live = self._live.get(run_id)
            if not live or self._is_read(live) or self._detach is None:
                return
            patience = max(self._detach, BACK_SECONDS) if self.leaving else self._detach
            if patience > 0:
                live.leaving = self._timer.later(patience, lambda: self._abandon(live))
                return
        if self._store.shared or live.request.to_be_told:
            self._abandon(live)
        else:
            # Nothing in here waits: a thousand who leave at once are not to become a thousand tasks.
            self._stop_unless_back(live)

    def bury(self) -> None:
        """Go on with the runs of processes that are gone, or end them, and tell of each that nobody else
        has ended."""
        queue = self._queue
        orphans = self._store.orphans(queue.seconds if queue else None)
        if queue:
            queue.forget_all_but(orphans)
        for log, epoch in orphans:
            if not epoch:
                self._give_up(log)
            elif not self._may_go_on(log.run, epoch):
                self._end_early(log, OWNER_LOST, epoch)
            elif queue:
                if not queue.put_again(log.run, epoch):
                    self._end_early(log, OWNER_LOST, epoch)
            elif not self.leaving:
                self._restart(log.run.id, epoch)
        for log in self._store.untold():
            self._tell_beside(log, fold_of(log).terminal or OWNER_LOST, None)

    def drain(self) -> None:
        """Start nothing any more."""
        self.leaving = self.draining = True

    def interrupt_all(self, cause: str, patience: float) -> None:
        """End every run of this process, because the process ends; or leave it to another one.

        :param patience: Seconds to wait for the providers to clean up, and for what other threads are
            still telling of other ends.
        """
        lives = list(self._live.values())
        self._interrupt_now(lives, ev.Interrupted(cause))
        self._until(lambda: not (self._owed or any(live.working for live in lives)), patience)

    def _interrupt_now(self, lives: Sequence[Live], terminal: ev.Terminal) -> None:
        self._owe(None, +1)
        try:
            released = [live for live in lives if self._release(live)]
            kept = [live for live in lives if live not in released]
            ended = [live for live in kept if self._end(live, terminal)]
            for live in (*released, *ended):
                self._forget(live)
                self._interrupt(live)
            # Only now: a receiver may take its time, and there is little of it.
            for live in ended if self._heard() else ():
                self._tell(live.log, terminal, live)
            self._store.flush()
        finally:
            self._owe(None, -1)

    def _until(self, done: Callable[[], bool], patience: float) -> None:
        deadline = self._clock() + patience
        while not done() and self._clock() < deadline:
            time.sleep(0.01)

    @property
    def count(self) -> int:
        """Runs being pumped now."""
        return len(self._live)

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
            with self._lock:
                self._starting.discard(run.id)
        return log, new

    def _give_up(self, log: Log) -> None:
        """No worker has taken a run out of the queue."""
        if self._end_early(log, NOT_BEGUN, 0):
            logger.error(
                "Run %s of %r has waited in the queue, and no worker has taken it. Is there one, with the "
                "same code and the same store?",
                log.run.id,
                log.run.provider,
            )

    def _admit(self, run: Run) -> None:
        """Take a place among those that are being started.

        :raises Unavailable: There is none.
        """
        with self._lock:
            self._refuse_too_many()
            self._starting.add(run.id)

    def _refuse_too_many(self) -> None:
        if self.draining:
            raise Unavailable("The server is shutting down. Try again in a moment.")
        if self._max_runs is not None and len(self._live) + len(self._starting) >= self._max_runs:
            raise Unavailable(
                "The server is running as many answers as it can. Try again in a moment."
            )

    def _is_read(self, live: Live) -> bool:
        # In the background there is a reader that never leaves: the run is to come to its end.
        return live.request.background or live.log.run.id in self._readers

    def _may_go_on(self, run: Run, epoch: int) -> bool:
        """Whether a run may be made anew, by its next owner; else it has to end."""
        if self._find is None or not run.request or not 0 < epoch <= self._max_restarts:
            return False
        old = self._run_seconds is not None and time.time() - run.created >= self._run_seconds
        return not old and self._find(run).restart

    def _release(self, live: Live) -> bool:
        """Leave a run to another process, if there are such, and it can be begun again there."""
        again = self._store.shared and self._may_go_on(live.log.run, live.epoch)
        return again and live.log.release()

    def _restart(self, run_id: str, epoch: int) -> None:
        log = self._store.adopt(run_id, epoch)
        live = self._adopted(log) if log is not None else None
        if live is not None:
            self._begin(live)

    def _adopted(self, log: Log) -> Live | None:
        """A run that is this process's now, and has yet to begin; ``None``: it has ended."""
        assert self._find
        call, restarts = self._find(log.run), log.epoch - 1
        if not restarts:
            return self._live_of(log, call.provider, call.request, call.surroundings)
        past = past_of(log) if call.restart else None
        if past is None:  # The provider could not be told what it has said.
            self._end_early(log, OWNER_LOST, log.epoch)
            return None
        logger.warning(
            "Run %s of %r has lost its process and goes on.", log.run.id, log.run.provider
        )
        try:
            for event in past.closing:
                log.append(event)
        except LogEnded:  # Stopped in this very moment, or lost again.
            return None
        request = replace(call.request, so_far=past.text, restarts=restarts)
        return self._live_of(log, call.provider, request, call.surroundings, past.usage)

    def _pump(
        self,
        log: Log,
        provider: Provider,
        request: ChatRequest,
        surroundings: Surroundings,
        before: ev.Usage | None = None,
    ) -> None:
        self._begin(self._live_of(log, provider, request, surroundings, before))

    def _live_of(
        self,
        log: Log,
        provider: Provider,
        request: ChatRequest,
        surroundings: Surroundings,
        before: ev.Usage | None = None,
    ) -> Live:
        pump = Pump(provider, request, log, surroundings, self._clock, before)
        return Live(log, request, pump, self._clock())

    def _begin(self, live: Live) -> None:
        with self._lock:
            self._live[live.log.run.id] = live
            self._starting.discard(live.log.run.id)
        live.log.on_lost(lambda: self._lose(live))
        if self._run_seconds is not None:
            rest = self._run_seconds
            if live.request.restarts:
                rest = max(rest + live.log.run.created - time.time(), 0.0)
            live.until = self._clock() + rest
            self._look_at(live.until)
        if self._detach is not None and not self._is_read(live):
            patience = max(self._detach, UNREAD_SECONDS)
            live.leaving = self._timer.later(patience, lambda: self._abandon(live))
        try:
            if live.pump.is_async:
                self._begin_async(live, None)
            else:
                live.task = self._concurrency.spawn(lambda: self._run(live))
                live.begun()
        except Exception:
            self._finish(live, ev.Failed("provider_error", "The provider could not be started."))
            raise

    def _run(self, live: Live) -> None:
        # What is true if something that is no Exception ends the task from outside.
        outcome: t.Any = ev.Interrupted("killed")
        try:
            outcome = live.pump.run(self._concurrency.breathe)
        finally:
            if isinstance(outcome, ev.TERMINAL):
                self._finish(live, outcome)
            else:
                self._begin_async(live, outcome)

    def _begin_async(self, live: Live, result: t.Any) -> None:
        live.loop_task = LoopTask(
            self._concurrency.serve_loop(),
            lambda: live.pump.run_async(lambda: asyncio.sleep(0), result),
            lambda task: self._finish_async(live, task),
        )
        live.loop_task.begin()
        live.begun()

    def _finish_async(self, live: Live, task: asyncio.Task[ev.Terminal]) -> None:
        if not task.cancelled():
            task.exception()  # Asked for, or asyncio complains that nobody has.
        if live.log.ended:  # By somebody else, who tells it.
            self._forget(live)
            return
        if task.cancelled():
            terminal: ev.Terminal = ev.Interrupted("killed")
        elif task.exception() is not None:
            terminal = ev.Failed("provider_error", "The provider failed.")
        else:
            terminal = task.result()
        # Hooks are synchronous code and may block; the loop serves every other async provider too.
        self._concurrency.spawn(lambda: self._finish(live, terminal))

    def _finish(self, live: Live, terminal: ev.Terminal) -> None:
        if live.log.ended:  # By somebody else, who tells it.
            self._forget(live)
            return
        self._owe(live, +1)
        try:
            won = self._end(live, terminal)
            self._forget(live)
            if won and self._heard():
                self._tell(live.log, terminal, live)
                self._store.flush()
        finally:
            self._owe(live, -1)

    def _end(self, live: Live, terminal: ev.Terminal) -> bool:
        return live.log.end(terminal, epoch=live.epoch, announced=self._heard())

    def _end_early(self, log: Log, terminal: ev.Terminal, epoch: int | None = None) -> bool:
        live = self._live.get(log.run.id)
        self._owe(live, +1)
        try:
            if not log.end(terminal, epoch=epoch, announced=self._heard()):
                # Who has ended it is now telling so, perhaps in the provider's thread: not to be
                # interrupted.
                return False
            if live:
                self._forget(live)
                self._interrupt(live)
            if self._heard():
                self._tell_beside(log, terminal, live)
            return True
        finally:
            self._owe(live, -1)

    def _tell_beside(self, log: Log, terminal: ev.Terminal, live: Live | None) -> None:
        def tell() -> None:
            try:
                self._tell(log, terminal, live)
                self._store.flush()
            finally:
                self._owe(live, -1)

        self._owe(live, +1)
        try:
            self._concurrency.spawn(tell)
        except BaseException:
            self._owe(live, -1)
            raise

    def _owe(self, live: Live | None, ends: int) -> None:
        """From before a run is ended until that is told: the process is not to exit in between."""
        with self._lock:
            self._owed += ends
            if live is not None:
                live.owed += ends

    def _lose(self, live: Live) -> None:
        """Another process has ended the run or owns it, or the store is gone and it must end here."""

        def let_go() -> None:
            ended_here = live.log.owned and self._end_early(live.log, STORE_GONE, live.epoch)
            if not ended_here and live.log.run.id in self._live:
                self._forget(live)
                self._interrupt(live)

        self._concurrency.spawn(let_go)

    def _interrupt(self, live: Live) -> None:
        for callback in live.request.stopping():
            try:
                callback()
            except Exception:
                logger.exception("Run %s: an on_stop callback failed", live.log.run.id)
        live.interrupt()
        if live.working:
            self._timer.later(STUBBORN_SECONDS, lambda: self._complain(live))

    def _complain(self, live: Live) -> None:
        if live.working:
            logger.warning(
                "Run %s of %r was stopped %s s ago, and its provider is still working. Give it "
                "request.on_stop(callback) to end what it waits for.",
                live.log.run.id,
                live.log.run.provider,
                STUBBORN_SECONDS,
            )

    def _abandon(self, live: Live) -> None:
        self._concurrency.spawn(lambda: self._stop_unless_back(live))

    def _stop_unless_back(self, live: Live) -> None:
        if self._is_read(live) or live.log.ended:
            return
        # Who read it there a moment ago may just be changing connections.
        before, live.followed = live.followed, live.log.followed()
        if live.followed or before:
            rest = max(self._detach or 0.0, LOOK_SECONDS)
            live.leaving = self._timer.later(rest, lambda: self._abandon(live))
        else:
            self._end_early(live.log, ev.Stopped("detach"), live.epoch)

    def _look_at(self, due: float) -> None:
        """Look for runs that are too old. One timer for all of them: nearly every run ends long before,
        and 10,000 timers for nothing would take 4 MB."""
        with self._lock:
            if due < self._looking_at:
                self._looking_at = due
                cancel(self._looking)
                self._looking = self._timer.later(due - self._clock(), self._look)

    def _look(self) -> None:
        assert self._run_seconds is not None
        now = self._clock()
        with self._lock:
            self._looking_at = math.inf
            lives = list(self._live.values())
        for live in lives:
            if live.until <= now:
                live.until = math.inf
                self._expire(live)
        next_due = min((live.until for live in lives), default=math.inf)
        if next_due < math.inf:
            self._look_at(max(next_due, now + self._run_seconds * OVERDUE))

    def _expire(self, live: Live) -> None:
        failed = ev.Failed(
            "run_timeout",
            f"The run was ended after {self._run_seconds} seconds, the longest allowed.",
            504,
        )

        def end() -> None:
            self._end_early(live.log, failed, live.epoch)

        self._concurrency.spawn(end)

    def _forget(self, live: Live) -> None:
        with self._lock:
            self._live.pop(live.log.run.id, None)
            cancel(live.leaving)
        live.on_over()

    def _tell(self, log: Log, outcome: ev.Terminal, live: Live | None) -> None:
        """Announce an end, with its durations where the run was ``live`` here."""
        seconds, first_seconds = max(time.time() - log.run.created, 0.0), None
        if live is not None and not live.request.restarts:
            seconds, first = self._clock() - live.started, live.pump.first_at
            first_seconds = first - live.started if first is not None else None
        ended = RunEnded(log.run, outcome, seconds, first_seconds, log)

        def announce() -> None:
            try:
                self._on_end(ended)
            except Exception:
                logger.exception("Run %s: a run_ended receiver failed", log.run.id)

        log.announce(announce)


def cancel(handle: Handle | None) -> None:
    if handle is not None:
        handle.cancel()
