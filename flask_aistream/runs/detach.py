"""Who reads which run: one that nobody reads any more is ended, unless somebody comes back."""

from __future__ import annotations

from flask_aistream.core import events as ev
from flask_aistream.runs.active import ActiveRun
from flask_aistream.runs.active import ActiveRuns
from flask_aistream.runs.termination import Termination
from flask_aistream.stores.base import Store
from flask_aistream.timing.concurrency import Concurrency
from flask_aistream.timing.timer import Timer

CHECK_SECONDS = 1.0
"""Least time between two looks whether a run is still read in another process."""

UNREAD_SECONDS = 5.0
"""A run that nobody has begun to read after so long (and ``detach``) has no client any more."""


class DetachMonitor:
    """
    :param detach: Seconds after which a run nobody reads is stopped; ``None``: never.
    """

    def __init__(
        self,
        store: Store,
        concurrency: Concurrency,
        timer: Timer,
        active_runs: ActiveRuns,
        termination: Termination,
        *,
        detach: float | None,
    ) -> None:
        self._store = store
        self._concurrency = concurrency
        self._timer = timer
        self._active_runs = active_runs
        self._termination = termination
        self._detach = detach
        self._counts: dict[str, int] = {}

    def await_first(self, live: ActiveRun) -> None:
        """A run begins, and its client should soon read it."""
        if self._detach is not None and not self._is_read(live):
            self._look_again(live, max(self._detach, UNREAD_SECONDS))

    def attach(self, run_id: str) -> None:
        """See :meth:`Runner.attach`."""
        with self._active_runs.lock:
            self._counts[run_id] = self._counts.get(run_id, 0) + 1
            live = self._active_runs.get(run_id)
            if live:
                live.stay()

    def leave(self, run_id: str, at_least: float) -> None:
        """See :meth:`Runner.leave`.

        :param at_least: Seconds that somebody has to come back.
        """
        with self._active_runs.lock:
            left = self._counts.pop(run_id, 1) - 1
            if left:
                self._counts[run_id] = left
            live = self._active_runs.get(run_id)
            if not live or self._is_read(live) or self._detach is None:
                return
            patience = max(self._detach, at_least)
            if patience > 0:
                self._look_again(live, patience)
                return
        if self._store.shared or live.request.has_stop_callbacks:
            self._abandon(live)
        else:
            # Nothing in here waits: a thousand who leave at once are not to become a thousand tasks.
            self._stop_unless_back(live)

    def _is_read(self, live: ActiveRun) -> bool:
        # In the background there is a reader that never leaves: the run is to come to its end.
        return live.request.background or live.log.run.id in self._counts

    def _look_again(self, live: ActiveRun, seconds: float) -> None:
        live.leaving = self._timer.later(seconds, lambda: self._abandon(live))

    def _abandon(self, live: ActiveRun) -> None:
        self._concurrency.spawn(lambda: self._stop_unless_back(live))

    def _stop_unless_back(self, live: ActiveRun) -> None:
        if self._is_read(live) or live.log.ended:
            return
        # Who read it there a moment ago may just be changing connections.
        before, live.followed = live.followed, live.log.followed()
        if live.followed or before:
            self._look_again(live, max(self._detach or 0.0, CHECK_SECONDS))
        else:
            self._termination.early(live.log, ev.Stopped("detach"), live.epoch)
