"""Fail runs whose provider has yielded nothing for too long: its upstream stalls.

One timer looks at all runs. A token costs nothing: only the length of the log is compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from flask_aistream.core import events as ev
from flask_aistream.runs.active import ActiveRun
from flask_aistream.runs.active import ActiveRuns
from flask_aistream.runs.termination import Termination
from flask_aistream.timing.concurrency import Concurrency
from flask_aistream.timing.timer import Timer
from flask_aistream.timing.timer import TimerHandle

CHECKS = 8
"""Checks within the limit of a run. By one part in so many it may be exceeded."""


class IdleMonitor:
    def __init__(
        self,
        concurrency: Concurrency,
        timer: Timer,
        active_runs: ActiveRuns,
        termination: Termination,
        clock: Callable[[], float],
    ) -> None:
        self._concurrency = concurrency
        self._timer = timer
        self._active_runs = active_runs
        self._termination = termination
        self._clock = clock
        self._check_handle: TimerHandle | None = None
        self._check_at = math.inf

    def watch(self, run: ActiveRun) -> None:
        """Watch a run that starts or restarts in this process."""
        limits = run.pump.silence_limits
        if limits:
            self._schedule(min(limits) / CHECKS)

    def _schedule(self, delay: float) -> None:
        due = self._clock() + delay
        with self._active_runs.lock:
            if due < self._check_at:
                self._check_at = due
                if self._check_handle is not None:
                    self._check_handle.cancel()
                self._check_handle = self._timer.call_later(delay, self._check)

    def _check(self) -> None:
        now = self._clock()
        with self._active_runs.lock:
            self._check_at = math.inf
        limits: list[float] = []
        for run in self._active_runs.snapshot():
            if not run.pump.silence_limits:
                continue
            limit = run.pump.silence_limit
            activity = (run.log.tail, run.pump.ticks)
            if activity != run.activity:
                run.activity, run.active_at = activity, now
            elif limit is not None and now - run.active_at >= limit:
                self._concurrency.spawn(partial(self._expire, run, limit))
                continue
            limits += run.pump.silence_limits
        if limits:
            self._schedule(min(limits) / CHECKS)

    def _expire(self, run: ActiveRun, limit: float) -> None:
        code, what = ("idle_timeout", "was silent for")
        if not run.pump.begun:
            code, what = ("first_event_timeout", "did not begin to answer within")
        failed = ev.Failed(code, f"The model {what} {limit:g} seconds. Try again.", 504)
        self._termination.end(run.log, failed, run.epoch)
