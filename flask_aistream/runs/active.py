"""The runs whose providers are called in this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from collections.abc import Sequence
from contextlib import AbstractContextManager

from flask_aistream.core import events as ev
from flask_aistream.errors import TooManyRuns
from flask_aistream.errors import Unavailable
from flask_aistream.runs.bridge import LoopTask
from flask_aistream.runs.call import ProviderCall
from flask_aistream.runs.pump import Pump
from flask_aistream.runs.quota import Share
from flask_aistream.stores.base import Log
from flask_aistream.timing.concurrency import Task
from flask_aistream.timing.timer import TimerHandle


class ActiveRun:
    """A run whose provider is called in this process.

    :param previous_usage: Tokens that earlier calls of a restarted run have used.
    :ivar epoch: The epoch in which this process owns the run.
    :ivar ending: Set by the first caller that ends the run; the provider must not be interrupted after that.
    :ivar read_elsewhere: Another process had a reader of this run at the last check.
    :ivar awaited_until: Time, by the clock, until which a disconnected reader may reconnect.
    :ivar activity: Events and ticks at the last check for idleness.
    :ivar active_at: Time, by the clock, of the last check that found new ones.
    :ivar deadline_timer: Ends the run when it has reached its maximum duration.
    :ivar detach_timer: Checks whether the run has a reader.
    :ivar on_removed: Called when this process stops working on the run.
    :ivar shares: Limits that the run counts against until then.
    """

    __slots__ = (
        "active_at",
        "activity",
        "awaited_until",
        "deadline_timer",
        "detach_timer",
        "ending",
        "epoch",
        "interrupted",
        "log",
        "loop_task",
        "on_removed",
        "pump",
        "read_elsewhere",
        "request",
        "shares",
        "started",
        "task",
    )

    def __init__(
        self,
        log: Log,
        call: ProviderCall,
        clock: Callable[[], float],
        previous_usage: ev.Usage | None = None,
    ) -> None:
        self.log = log
        self.epoch = log.epoch
        self.request = call.request
        self.pump = Pump(call, log, clock, previous_usage)
        self.started = clock()
        self.task: Task | None = None
        # Both tasks exist if a plain function returns an async iterator.
        self.loop_task: LoopTask | None = None
        self.interrupted = False
        self.ending = False
        self.read_elsewhere = False
        self.detach_timer: TimerHandle | None = None
        self.activity = (-1, -1)
        self.active_at = self.started
        self.awaited_until = self.started
        self.deadline_timer: TimerHandle | None = None
        self.on_removed: Callable[[], None] | None = None
        self.shares: Sequence[Share] = ()

    @property
    def working(self) -> bool:
        """Whether the provider still runs."""
        return any(task is not None and task.alive for task in (self.task, self.loop_task))

    def interrupt(self) -> None:
        """Interrupt the provider, or prevent it from starting. Returns at once."""
        self.interrupted = True
        self.pump.fence()
        if self.task is not None:
            self.task.interrupt()
        # Checked last: the first task may have started the second one until it was interrupted.
        if self.loop_task is not None:
            self.loop_task.interrupt()

    def task_started(self) -> None:
        """Apply an interrupt that was requested before the task existed."""
        if self.interrupted:
            self.interrupt()

    def cancel_detach(self) -> None:
        """Cancel the check for readers."""
        if self.detach_timer is not None:
            self.detach_timer.cancel()


class ActiveRuns:
    """The active runs of this process, and the places reserved for runs that start.

    :ivar lock: Guards this registry and the state of its runs. Critical sections never block.
    """

    def __init__(self, lock: AbstractContextManager[object]) -> None:
        self.lock = lock
        self._runs: dict[str, ActiveRun] = {}
        self._reserved: dict[str, Sequence[Share]] = {}
        self._taken: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._runs)

    def get(self, run_id: str) -> ActiveRun | None:
        return self._runs.get(run_id)

    def snapshot(self) -> list[ActiveRun]:
        with self.lock:
            return list(self._runs.values())

    def reserve(self, run_id: str, limit: int | None, shares: Sequence[Share] = ()) -> None:
        """Reserve a place for a run, until :meth:`add` takes it or :meth:`release` gives it back.

        :param limit: Maximum number of active and starting runs.
        :param shares: Limits of some of them that the run counts against.
        :raises Unavailable: A limit is reached.
        """
        with self.lock:
            if limit is not None and len(self._runs) + len(self._reserved) >= limit:
                raise Unavailable(
                    "The server is running as many answers as it can. Try again in a moment."
                )
            for share in shares:
                if self._taken[share.name] + share.size > share.limit:
                    raise TooManyRuns(share.limit, share.message)
            self._reserved[run_id] = shares
            for share in shares:
                self._taken[share.name] += share.size

    def release(self, run_id: str) -> None:
        """Give back the place of a run that was not added."""
        with self.lock:
            self._release(self._reserved.pop(run_id, ()))

    def add(self, run: ActiveRun) -> None:
        run_id = run.log.run.id
        with self.lock:
            self._runs[run_id] = run
            run.shares = self._reserved.pop(run_id, ())

    def remove(self, run: ActiveRun) -> bool:
        """Remove a run that has ended, or that another process owns now.

        :returns: Whether this call is the first that ends the run here; its provider is then to be interrupted.
        """
        run_id = run.log.run.id
        with self.lock:
            first, run.ending = not run.ending, True
            if self._runs.get(run_id) is run:  # This process may have adopted the run again.
                del self._runs[run_id]
                self._release(run.shares)
            run.cancel_detach()
            if run.deadline_timer is not None:
                run.deadline_timer.cancel()
        if run.on_removed is not None:
            run.on_removed()
        return first

    def _release(self, shares: Sequence[Share]) -> None:
        for share in shares:
            self._taken[share.name] -= share.size
            if not self._taken[share.name]:
                del self._taken[share.name]
