"""End runs that exceed their maximum duration.

All runs share one timer: nearly every run ends long before its deadline, and 10,000 unused timers take 4 MB.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial

from flask_aistream.core import events as ev
from flask_aistream.runs.active import ActiveRun
from flask_aistream.runs.active import ActiveRuns
from flask_aistream.runs.termination import Termination
from flask_aistream.timing.concurrency import Concurrency
from flask_aistream.timing.timer import Timer
from flask_aistream.timing.timer import TimerHandle

TOLERANCE = 0.01
"""By how much a run may exceed the limit, as a fraction of the limit."""


class Deadlines:
    """
    :param limit: Maximum duration of a run, in seconds; ``None``: unlimited.
    """

    def __init__(
        self,
        concurrency: Concurrency,
        timer: Timer,
        active_runs: ActiveRuns,
        termination: Termination,
        limit: float | None,
        clock: Callable[[], float],
    ) -> None:
        self._concurrency = concurrency
        self._timer = timer
        self._active_runs = active_runs
        self._termination = termination
        self._limit = limit
        self._clock = clock
        self._check_handle: TimerHandle | None = None
        self._check_at = math.inf

    def watch(self, run: ActiveRun) -> None:
        """Set the deadline of a run that starts or restarts here."""
        if self._limit is None:
            return
        remaining = self._limit
        if run.request.restarts:
            remaining = max(remaining + run.log.run.created - time.time(), 0.0)
        run.deadline = self._clock() + remaining
        self._schedule(run.deadline)

    def _schedule(self, due: float) -> None:
        with self._active_runs.lock:
            if due < self._check_at:
                self._check_at = due
                if self._check_handle is not None:
                    self._check_handle.cancel()
                self._check_handle = self._timer.call_later(due - self._clock(), self._check)

    def _check(self) -> None:
        assert self._limit is not None
        now = self._clock()
        with self._active_runs.lock:
            self._check_at = math.inf
        runs = self._active_runs.snapshot()
        for run in runs:
            if run.deadline <= now:
                run.deadline = math.inf
                self._concurrency.spawn(partial(self._expire, run))
        next_due = min((run.deadline for run in runs), default=math.inf)
        if next_due < math.inf:
            self._schedule(max(next_due, now + self._limit * TOLERANCE))

    def _expire(self, run: ActiveRun) -> None:
        failed = ev.Failed(
            "run_timeout",
            f"The run was ended after {self._limit} seconds, the longest allowed.",
            504,
        )
        self._termination.end(run.log, failed, run.epoch)
