"""Stop runs that have had no reader for ``detach`` seconds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from flask_aistream.core import events as ev
from flask_aistream.runs.active import ActiveRun
from flask_aistream.runs.active import ActiveRuns
from flask_aistream.runs.termination import Termination
from flask_aistream.stores.base import Store
from flask_aistream.timing.concurrency import Concurrency
from flask_aistream.timing.timer import Timer

CHECK_SECONDS = 1.0
"""Minimum time between two checks whether another process has a reader of a run."""

UNREAD_SECONDS = 5.0
"""Minimum time that the client of a new run has to start reading."""


class DetachMonitor:
    """Counts the readers of each run in this process.

    :param detach_seconds: Time after which a run without readers is stopped; ``None``: never.
    """

    def __init__(
        self,
        store: Store,
        concurrency: Concurrency,
        timer: Timer,
        active_runs: ActiveRuns,
        termination: Termination,
        detach_seconds: float | None,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._concurrency = concurrency
        self._timer = timer
        self._active_runs = active_runs
        self._termination = termination
        self._detach_seconds = detach_seconds
        self._clock = clock
        self._readers: dict[str, int] = {}

    def expect_reader(self, run: ActiveRun) -> None:
        """Stop a new run unless a reader attaches in time."""
        if self._detach_seconds is not None and not self._is_read(run):
            self._check_later(run, max(self._detach_seconds, UNREAD_SECONDS))

    def attach(self, run_id: str) -> None:
        """Count a new reader of a run. The run may be active in this process or another one, or not yet active."""
        with self._active_runs.lock:
            self._readers[run_id] = self._readers.get(run_id, 0) + 1
            run = self._active_runs.get(run_id)
            if run is not None:
                run.cancel_detach()

    def readers(self, run_id: str) -> int:
        """Number of readers of a run in this process."""
        return self._readers.get(run_id, 0)

    def detach(self, run_id: str, min_seconds: float, *, returns: bool) -> None:
        """Count a reader out. After the last one, the run is stopped at the end of the longest detach time. Does not
        block.

        :param min_seconds: Minimum detach time.
        :param returns: The client can reconnect, so the detach time applies.
        """
        with self._active_runs.lock:
            left = self._readers.pop(run_id, 1) - 1
            if left:
                self._readers[run_id] = left
            run = self._active_runs.get(run_id)
            if run is None or self._detach_seconds is None:
                return
            now = self._clock()
            if returns:
                run.awaited_until = now + max(self._detach_seconds, min_seconds)
            if self._is_read(run):
                return
            if run.awaited_until > now:
                self._check_later(run, run.awaited_until - now)
                return
        if self._store.shared or run.request.has_stop_callbacks:
            self._spawn_check(run)
        else:
            # Does not block, so a thousand simultaneous disconnects need no tasks.
            self._stop_if_unread(run)

    def _is_read(self, run: ActiveRun) -> bool:
        # A background run needs no readers.
        return run.request.background or run.log.run.id in self._readers

    def _check_later(self, run: ActiveRun, seconds: float) -> None:
        run.detach_timer = self._timer.call_later(seconds, partial(self._spawn_check, run))

    def _spawn_check(self, run: ActiveRun) -> None:
        self._concurrency.spawn(partial(self._stop_if_unread, run))

    def _stop_if_unread(self, run: ActiveRun) -> None:
        if self._is_read(run) or run.log.ended:
            return
        # A reader of another process at the last check may be reconnecting.
        before, run.read_elsewhere = run.read_elsewhere, run.log.followed()
        if run.read_elsewhere or before:
            self._check_later(run, max(self._detach_seconds or 0.0, CHECK_SECONDS))
        else:
            self._termination.end(run.log, ev.Stopped("detach"), run.epoch)
