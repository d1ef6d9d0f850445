"""No run lives longer than is allowed.

One timer for all of them: nearly every run ends long before, and 10,000 timers for nothing would take 4 MB.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from flask_aistream.core import events as ev
from flask_aistream.runs.active import ActiveRun
from flask_aistream.runs.active import ActiveRuns
from flask_aistream.runs.termination import Termination
from flask_aistream.timing.concurrency import Concurrency
from flask_aistream.timing.timer import Handle
from flask_aistream.timing.timer import Timer

OVERDUE = 0.01
"""By how much of its longest life a run may be too old before it is ended."""


class Deadlines:
    """
    :param longest: Seconds of the longest life of a run; ``None`` for any.
    """

    def __init__(
        self,
        concurrency: Concurrency,
        timer: Timer,
        active_runs: ActiveRuns,
        termination: Termination,
        *,
        longest: float | None,
        clock: Callable[[], float],
    ) -> None:
        self._concurrency = concurrency
        self._timer = timer
        self._active_runs = active_runs
        self._termination = termination
        self._longest = longest
        self._clock = clock
        self._looking: Handle | None = None
        self._looking_at = math.inf

    def limit(self, live: ActiveRun) -> None:
        """A run begins."""
        if self._longest is None:
            return
        rest = self._longest
        if live.request.restarts:
            rest = max(rest + live.log.run.created - time.time(), 0.0)
        live.until = self._clock() + rest
        self._look_at(live.until)

    def _look_at(self, due: float) -> None:
        with self._active_runs.lock:
            if due < self._looking_at:
                self._looking_at = due
                if self._looking is not None:
                    self._looking.cancel()
                self._looking = self._timer.later(due - self._clock(), self._look)

    def _look(self) -> None:
        assert self._longest is not None
        now = self._clock()
        with self._active_runs.lock:
            self._looking_at = math.inf
            active_runs = list(self._active_runs.values())
        for live in active_runs:
            if live.until <= now:
                live.until = math.inf
                self._expire(live)
        next_due = min((live.until for live in active_runs), default=math.inf)
        if next_due < math.inf:
            self._look_at(max(next_due, now + self._longest * OVERDUE))

    def _expire(self, live: ActiveRun) -> None:
        failed = ev.Failed(
            "run_timeout",
            f"The run was ended after {self._longest} seconds, the longest allowed.",
            504,
        )

        def end() -> None:
            self._termination.early(live.log, failed, live.epoch)

        self._concurrency.spawn(end)
