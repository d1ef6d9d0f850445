"""End runs that exceed their maximum duration."""

from __future__ import annotations

import time
from functools import partial

from flask_aistream.core import events as ev
from flask_aistream.runs.active import ActiveRun
from flask_aistream.runs.termination import Termination
from flask_aistream.timing.concurrency import Concurrency
from flask_aistream.timing.timer import Timer


class Deadlines:
    """
    :param limit: Maximum duration of a run, in seconds; ``None``: unlimited.
    """

    def __init__(
        self,
        concurrency: Concurrency,
        timer: Timer,
        termination: Termination,
        limit: float | None,
    ) -> None:
        self._concurrency = concurrency
        self._timer = timer
        self._termination = termination
        self._limit = limit

    def watch(self, run: ActiveRun) -> None:
        """Start the timer of a run, before its provider is called in this process."""
        if self._limit is None:
            return
        remaining = self._limit
        if run.request.restarts:
            remaining = max(remaining + run.log.run.created - time.time(), 0.0)
        run.deadline_timer = self._timer.call_later(remaining, partial(self._spawn_end, run))

    def _spawn_end(self, run: ActiveRun) -> None:
        self._concurrency.spawn(partial(self._end, run))

    def _end(self, run: ActiveRun) -> None:
        failed = ev.Failed(
            "run_timeout",
            f"The run was ended after {self._limit} seconds, the longest allowed.",
            504,
        )
        self._termination.end(run.log, failed, run.epoch)
