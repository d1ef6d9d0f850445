"""The runs of one process: the entry points that ``web/`` and ``server/`` call.

Four paths, each in one direction:

* start: ``Runner.start`` → ``Launcher.launch`` → ``Pump.run`` → ``Termination.finish``
* stop: ``Runner.stop`` → ``Termination.end`` → ``ActiveRun.interrupt``
* execute (a queued run): ``Runner.execute`` → ``Adoption.execute`` → ``Launcher.launch`` …
* drain: ``Runner.interrupt_all`` → ``Termination.end_all`` → ``ActiveRun.interrupt``
"""

from __future__ import annotations

import time
from collections.abc import Callable

from flask_aistream.core import events as ev
from flask_aistream.core.request import ChatRequest
from flask_aistream.core.run import Run
from flask_aistream.errors import Unavailable
from flask_aistream.runs.active import ActiveRun
from flask_aistream.runs.active import ActiveRuns
from flask_aistream.runs.adoption import Adoption
from flask_aistream.runs.announcer import Announcer
from flask_aistream.runs.call import ProviderCall
from flask_aistream.runs.call import ResolveProvider
from flask_aistream.runs.deadlines import Deadlines
from flask_aistream.runs.detach import DetachMonitor
from flask_aistream.runs.dispatch import DispatchQueue
from flask_aistream.runs.ended import EndObserver
from flask_aistream.runs.idle import IdleMonitor
from flask_aistream.runs.launch import Launcher
from flask_aistream.runs.policy import RunPolicy
from flask_aistream.runs.quota import UNCOUNTED
from flask_aistream.runs.quota import Quota
from flask_aistream.runs.recovery import Recovery
from flask_aistream.runs.restart import RestartRule
from flask_aistream.runs.termination import Termination
from flask_aistream.stores.base import UNCONDITIONAL
from flask_aistream.stores.base import Conditions
from flask_aistream.stores.base import Log
from flask_aistream.stores.base import Store
from flask_aistream.timing.concurrency import Concurrency
from flask_aistream.timing.timer import Timer

QUEUE_UNAVAILABLE = ev.Failed(
    "queue_unavailable", "The answer could not be put into the queue.", 503
)

RECONNECT_SECONDS = 10.0
"""While the process leaves, its clients reconnect to another one: minimum time that a run waits for them."""


class Reservation:
    """The place of a run that starts within a ``with`` block. A block that raises has started none."""

    __slots__ = ("_active_runs", "_quota", "_run_id")

    def __init__(self, active_runs: ActiveRuns, run_id: str, quota: Quota) -> None:
        self._active_runs = active_runs
        self._run_id = run_id
        self._quota = quota

    def __enter__(self) -> None:
        pass

    def __exit__(self, raised: object, *_: object) -> None:
        self._active_runs.release(self._run_id)
        if raised is not None:
            self._quota.give_back()


class Runner:
    """All runs of this process.

    :param queue: Dispatches runs to other processes; ``None``: providers are called in this process.
    :param resolve: Finds the providers of runs from other processes; ``None``: such runs are not executed here.
    :ivar leaving: The process will exit soon.
    :ivar draining: No run is started any more.
    """

    def __init__(
        self,
        store: Store,
        concurrency: Concurrency,
        timer: Timer,
        policy: RunPolicy,
        observer: EndObserver,
        *,
        queue: DispatchQueue | None = None,
        resolve: ResolveProvider | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        restarts = RestartRule(resolve, policy)
        active = ActiveRuns(concurrency.lock())
        announcer = Announcer(store, concurrency, observer, clock, policy.max_deliveries)
        termination = Termination(store, concurrency, timer, active, restarts, announcer, clock)
        deadlines = Deadlines(concurrency, timer, termination, policy.run_seconds)
        readers = DetachMonitor(
            store, concurrency, timer, active, termination, policy.detach_seconds, clock
        )
        idle = IdleMonitor(concurrency, timer, active, termination, clock)
        launcher = Launcher(concurrency, timer, active, termination, deadlines, idle, readers)
        adoption = Adoption(store, concurrency, active, termination, launcher, restarts, clock)
        self._store = store
        self._announcer = announcer
        self._policy = policy
        self._queue = queue
        self._clock = clock
        self._active_runs = active
        self._termination = termination
        self._readers = readers
        self._launcher = launcher
        self._adoption = adoption
        self._recovery = Recovery(store, termination, adoption, restarts, announcer, queue)
        self.leaving = False
        self.draining = False

    @property
    def count(self) -> int:
        """Number of active runs."""
        return len(self._active_runs)

    @property
    def announces(self) -> bool:
        """Whether this process has receivers of ``run_ended``."""
        return self._announcer.listening

    def find(self, run: Run) -> Log | None:
        """The run that has the same idempotency key."""
        return self._store.started(run.key) if run.key is not None else None

    def start(
        self,
        run: Run,
        call: ProviderCall,
        quota: Quota = UNCOUNTED,
        conditions: Conditions = UNCONDITIONAL,
    ) -> tuple[Log, bool]:
        """Start a run in this process, or find the one with the same idempotency key.

        :param quota: Limits that a new run counts against.
        :param conditions: The limit of its owner is added.
        :returns: Its log, and whether it is new.
        :raises Unavailable: The process drains, or a limit is reached.
        :raises ChatBusy: See ``Store.create``.
        """
        # Before the limits: a retry with the same idempotency key is exempt from them.
        found = None if conditions.take_key else self.find(run)
        if found is not None:
            return found, False
        with self._reserve(run, quota):
            log, new = self._create(run, call.request, True, conditions)
            if new:
                self._launcher.launch(ActiveRun(log, call, self._clock))
            else:
                quota.give_back()
        return log, new

    def enqueue(
        self,
        run: Run,
        request: ChatRequest,
        quota: Quota = UNCOUNTED,
        conditions: Conditions = UNCONDITIONAL,
    ) -> tuple[Log, bool]:
        """As :meth:`start`, for another process to :meth:`execute`. If the queue is unavailable, the run fails.

        :param run: With the encoded ``request``.
        """
        assert self._queue is not None
        found = None if conditions.take_key else self.find(run)
        if found is not None:
            return found, False
        with self._reserve(run, quota):
            log, new = self._create(run, request, False, conditions)
            if new and not self._queue.put(run):
                self._termination.end(log, QUEUE_UNAVAILABLE, 0)
            if not new:
                quota.give_back()
        return log, new

    def execute(self, run_id: str, epoch: int) -> ev.Terminal | None:
        """Call the provider of a queued run. Returns when the run has ended, its provider has cleaned up and the
        end is announced. An exception raised in the waiting thread interrupts the run.

        :param epoch: How many owners the run has had.
        :returns: The outcome; ``None``: the run has ended before, or another process has adopted it.
        """
        return self._adoption.execute(run_id, epoch)

    def stop(self, log: Log, by: str) -> bool:
        """Stop a run, in whichever process its provider works.

        :returns: Whether this call ended it; if not, it had ended before.
        """
        return self._termination.end(log, ev.Stopped(by))

    def attach(self, run_id: str) -> None:
        """Count a reader of a run. Every call is paired with one of :meth:`detach`."""
        self._readers.attach(run_id)

    def detach(self, run_id: str, *, returns: bool = True) -> None:
        """Count a reader out. After the last one, the run's detach time begins. Does not block.

        :param returns: False: the client cannot reconnect, so the detach time does not apply.
        """
        min_seconds = RECONNECT_SECONDS if self.leaving else 0.0
        self._readers.detach(run_id, min_seconds, returns=returns)

    def readers(self, run_id: str) -> int:
        """Number of readers of a run in this process."""
        return self._readers.readers(run_id)

    def recover(self) -> None:
        """Restart, dispatch or end the runs of lost processes, and deliver the ends that those have not."""
        self._recovery.recover(restart_here=not self.leaving)

    def announce_leaving(self) -> None:
        """The process will exit soon: it restarts no runs of other processes any more."""
        self.leaving = True

    def drain(self) -> None:
        """Reject new runs from now on."""
        self.leaving = self.draining = True

    def interrupt_all(self, cause: str, timeout: float) -> None:
        """Release every active run to another process, or end it, because this process exits.

        :param timeout: Seconds to wait for the clean-up of providers and for pending announcements.
        """
        runs = self._active_runs.snapshot()
        self._termination.end_all(runs, ev.Interrupted(cause))
        self._termination.join(runs, timeout, all_ends=True)

    def _reserve(self, run: Run, quota: Quota) -> Reservation:
        """The place of a run that starts.

        :raises Unavailable: The process drains, or a limit is reached.
        """
        if self.draining:
            raise Unavailable("The server is shutting down. Try again in a moment.")
        self._active_runs.reserve(run.id, self._policy.max_runs, quota.shares)
        try:
            quota.take()
        except BaseException:
            self._active_runs.release(run.id)
            raise
        return Reservation(self._active_runs, run.id, quota)

    def _create(
        self, run: Run, request: ChatRequest, owned: bool, conditions: Conditions
    ) -> tuple[Log, bool]:
        approved = [call["id"] for call in request.approved] or None
        started = ev.RunStarted(run.id, run.provider, request.continues, request.echo, approved)
        limited = Conditions(
            self._policy.max_runs_per_owner, conditions.take_key, conditions.previous
        )
        return self._store.create(run, [started], owned=owned, conditions=limited)
