"""Deliver the ends of runs from the store's outbox to their receivers, at least once and normally once.

The step that ends a run writes a row to the outbox. One announcer a process claims rows, calls the receivers
and deletes the row. After a crash another process claims it again, a bounded number of times. Receivers
deduplicate by run id.
"""

from __future__ import annotations

import logging
import time
import weakref
from collections import deque
from collections.abc import Callable
from collections.abc import Sequence
from contextlib import AbstractContextManager

from flask_aistream.core import events as ev
from flask_aistream.core.run import Run
from flask_aistream.errors import RunNotFound
from flask_aistream.errors import RunUnreadable
from flask_aistream.errors import StoreUnavailable
from flask_aistream.runs.active import ActiveRun
from flask_aistream.runs.ended import EndObserver
from flask_aistream.runs.ended import RunEnded
from flask_aistream.stores.base import Log
from flask_aistream.stores.base import Store
from flask_aistream.timing.concurrency import Concurrency

logger = logging.getLogger("flask_aistream")

MAX_TASKS = 32
"""Maximum number of concurrent deliveries. Receivers that hang delay other ends only once there are so many."""

CLAIM_SECONDS = 1.0
"""Minimum time between two claims of rows that other processes have left."""

MAX_DURATIONS = 10_000

Durations = tuple[float, float | None]


class Expectation:
    """A ``with`` block that may end a run."""

    __slots__ = ("_announcer", "_run_id")

    def __init__(self, announcer: Announcer, run_id: str) -> None:
        self._announcer = announcer
        self._run_id = run_id

    def __enter__(self) -> None:
        self._announcer.add_expected(self._run_id, 1)

    def __exit__(self, *_: object) -> None:
        self._announcer.add_expected(self._run_id, -1)


class Announcer:
    """
    :param max_deliveries: Maximum number of deliveries of one end, if each of them crashes its process.
    """

    def __init__(
        self,
        store: Store,
        concurrency: Concurrency,
        observer: EndObserver,
        clock: Callable[[], float],
        max_deliveries: int,
    ) -> None:
        self._store = store
        self._concurrency = concurrency
        self._observer = observer
        self._clock = clock
        self._max_deliveries = max_deliveries
        self._lock: AbstractContextManager[object] = concurrency.lock()
        self._expected: dict[str, int] = {}
        self._durations: dict[str, Durations] = {}
        self._ended: weakref.WeakValueDictionary[str, Log] = weakref.WeakValueDictionary()
        self._claimed: set[str] = set()
        self._queue: deque[tuple[Log, int]] = deque()
        self._tasks = 0
        self._claims = 0  # Requested, including the one in progress.
        self._claimed_at = -CLAIM_SECONDS

    @property
    def listening(self) -> bool:
        """Whether there is a receiver. Without one, this process claims nothing."""
        return self._observer.listening

    def expect(self, run_id: str) -> Expectation:
        """Keep :meth:`is_pending` true within a ``with`` block that ends a run, so that the process does not exit."""
        return Expectation(self, run_id)

    def add_expected(self, run_id: str, count: int) -> None:
        with self._lock:
            left = self._expected.pop(run_id, 0) + count
            if left:
                self._expected[run_id] = left

    def announce(self, log: Log, run: ActiveRun | None) -> None:
        """Deliver the end of a run that this process has ended. Does not block.

        :param run: Source of the durations, if the provider was called in this process.
        """
        if self.listening:
            self._note(log, run)
            self.claim()

    def announce_all(self, runs: Sequence[ActiveRun]) -> None:
        """Deliver the ends of all runs of an exiting process, in this thread."""
        if not self.listening:
            return
        for run in runs:
            self._note(run.log, run)
        if self._add_claim():
            self._claim_all(self._deliver_all)

    def _note(self, log: Log, run: ActiveRun | None) -> None:
        self._ended[log.run.id] = log
        while len(self._durations) >= MAX_DURATIONS:  # Other processes have delivered these.
            self._durations.pop(next(iter(self._durations)), None)
        if run is not None and not run.request.restarts:
            first = run.pump.first_at
            durations = (
                self._clock() - run.started,
                first - run.started if first is not None else None,
            )
            self._durations[log.run.id] = durations

    def poll(self) -> None:
        """Claim rows that other processes have left, at most once per ``CLAIM_SECONDS``."""
        if self._clock() - self._claimed_at >= CLAIM_SECONDS:
            self.claim()

    def claim(self) -> None:
        """Claim and deliver rows in a task of its own."""
        if self.listening and self._add_claim():
            self._spawn(lambda: self._claim_all(self._add_task))

    def is_pending(self, run_id: str | None = None) -> bool:
        """Whether this process has yet to deliver the end of a run; ``None``: of any run."""
        if self._claims:
            return True
        if run_id is None:
            return bool(self._expected or self._claimed)
        return run_id in self._expected or run_id in self._claimed

    def _add_claim(self) -> bool:
        """:returns: False: the claim in progress will be repeated, so the caller need not claim."""
        with self._lock:
            self._claims += 1
            return self._claims == 1

    def _claim_all(self, deliver: Callable[[], None]) -> None:
        claims = 0
        while True:
            with self._lock:
                self._claims -= claims
                claims = self._claims
            if not claims:
                return
            self._claimed_at = self._clock()
            try:
                rows = self._store.claim(list(self._claimed))
            except StoreUnavailable:  # The next poll tries again.
                rows = []
            except BaseException:
                with self._lock:
                    self._claims -= claims
                raise
            opened = [(log, row.attempt) for row in rows if (log := self._open(row.run))]
            self._claimed.update(log.run.id for log, _ in opened)
            self._queue.extend(opened)
            for _ in opened:
                deliver()

    def _open(self, run_id: str) -> Log | None:
        """The log of a row; ``None``: the row is dropped, or claimed again later."""
        log = None
        try:
            log = self._store.open(run_id)
        except (RunNotFound, RunUnreadable):
            # The store may have been rolled back since this process has ended the run.
            log = self._ended.get(run_id)
            if log is None:
                self._store.delivered(run_id)
        except StoreUnavailable:
            pass
        return log

    def _add_task(self) -> None:
        with self._lock:
            if self._tasks >= min(MAX_TASKS, len(self._claimed)):
                return
            self._tasks += 1
        self._spawn(self._deliver_in_task)

    def _deliver_in_task(self) -> None:
        try:
            self._deliver_all()
        finally:
            with self._lock:
                self._tasks -= 1
            if self._queue:
                self._add_task()

    def _deliver_all(self) -> None:
        while self._queue:
            try:
                log, attempt = self._queue.popleft()
            except IndexError:  # Another task has taken it.
                return
            self._deliver(log, attempt)

    def _deliver(self, log: Log, attempt: int) -> None:
        run_id = log.run.id
        try:
            if attempt <= self._max_deliveries:
                self._observer.run_ended(self._describe(log))
            else:
                logger.error(
                    "Run %.8s: its end is given up. Each of %s processes that delivered it to the receivers of "
                    "run_ended has crashed.",
                    run_id,
                    self._max_deliveries,
                )
        except BaseException as error:
            # Also gevent.Timeout, which is no Exception. A receiver that raises is not called again.
            logger.exception("Run %.8s: a run_ended receiver failed", run_id)
            if ends_process(error):
                self._store.delivered(run_id)
                self._store.flush()
                raise
        self._store.delivered(run_id)
        # The store deletes the row before it answers the next claim.
        self._claimed.discard(run_id)
        if attempt > 1:  # The store returns one such row per claim.
            self.claim()

    def _describe(self, log: Log) -> RunEnded:
        outcome = log.terminal or ev.Interrupted("owner-lost")
        known = self._durations.pop(log.run.id, None)
        seconds, first_seconds = known or (since(log.run), None)
        return RunEnded(log.run, outcome, seconds, first_seconds, log)

    def _spawn(self, work: Callable[[], None]) -> None:
        try:
            self._concurrency.spawn(work)
        except RuntimeError:  # No thread can be started.
            work()


def since(run: Run) -> float:
    return max(time.time() - run.created, 0.0)


def ends_process(error: BaseException) -> bool:
    """Whether an exception ends the process or greenlet. Compares the name, since only ``server/`` imports gevent."""
    return (
        isinstance(error, (SystemExit, KeyboardInterrupt)) or type(error).__name__ == "GreenletExit"
    )
