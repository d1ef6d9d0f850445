"""Runs that no process works on: go on with them here, let others do so, or end them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from flask_aistream.core import events as ev
from flask_aistream.core.run import Run
from flask_aistream.errors import LogEnded
from flask_aistream.runs.active import ActiveRun
from flask_aistream.runs.active import ActiveRuns
from flask_aistream.runs.dispatch import DispatchQueue
from flask_aistream.runs.ended import fold_of
from flask_aistream.runs.restart import ResolveProvider
from flask_aistream.runs.restart import history_of
from flask_aistream.runs.termination import STUBBORN_SECONDS
from flask_aistream.runs.termination import Termination
from flask_aistream.stores.base import Log
from flask_aistream.stores.base import Store
from flask_aistream.timing.concurrency import Concurrency

logger = logging.getLogger("flask_aistream")

OWNER_LOST = ev.Interrupted("owner-lost")

NOT_BEGUN = ev.Failed("queue_timeout", "No worker was free to make this answer in time.", 503)

CLEANUP_SECONDS = 1.0
"""Time that a provider gets to clean up when what waits for its run was broken off."""


class Recovery:
    """
    :param begin: Begins to pump a run.
    :param find: How a run that began elsewhere is made here; ``None``: not at all.
    :param max_restarts: How often that is done to one run.
    :param run_seconds: Longest life of a run; ``None`` for any.
    :param queue: Where other processes find runs, to :meth:`execute` them; ``None``: they go on here.
    """

    def __init__(
        self,
        store: Store,
        concurrency: Concurrency,
        active_runs: ActiveRuns,
        termination: Termination,
        begin: Callable[[ActiveRun], None],
        *,
        find: ResolveProvider | None,
        max_restarts: int,
        run_seconds: float | None,
        queue: DispatchQueue | None,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._concurrency = concurrency
        self._active_runs = active_runs
        self._termination = termination
        self._begin = begin
        self._find = find
        self._max_restarts = max_restarts
        self._run_seconds = run_seconds
        self._queue = queue
        self._clock = clock

    def execute(self, run_id: str, epoch: int) -> ev.Terminal | None:
        """See :meth:`Runner.execute`."""
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
            while self._active_runs.get(run_id) is live:
                waiter.wait()
            self._termination.settle([live], STUBBORN_SECONDS)
        except BaseException:
            self._termination.at_once([live], ev.Interrupted("drain"), self.release)
            self._termination.settle([live], CLEANUP_SECONDS)
            raise
        return fold_of(log).terminal

    def recover(self, *, here: bool) -> None:
        """See :meth:`Runner.bury`.

        :param here: This process may go on with some.
        """
        queue = self._queue
        orphans = self._store.orphans(queue.seconds if queue else None)
        if queue:
            queue.forget_all_but(orphans)
        for log, epoch in orphans:
            if not epoch:
                self._give_up(log)
            elif not self._may_go_on(log.run, epoch):
                self._termination.early(log, OWNER_LOST, epoch)
            elif queue:
                if not queue.put_again(log.run, epoch):
                    self._termination.early(log, OWNER_LOST, epoch)
            elif here:
                self._restart(log.run.id, epoch)
        for log in self._store.untold():
            self._termination.tell(log, fold_of(log).terminal or OWNER_LOST)

    def release(self, live: ActiveRun) -> bool:
        """Leave a run to another process, if there are such, and it can be begun again there."""
        again = self._store.shared and self._may_go_on(live.log.run, live.epoch)
        return again and live.log.release()

    def _give_up(self, log: Log) -> None:
        """No worker has taken a run out of the queue."""
        if self._termination.early(log, NOT_BEGUN, 0):
            logger.error(
                "Run %s of %r has waited in the queue, and no worker has taken it. Is there one, with the "
                "same code and the same store?",
                log.run.id,
                log.run.provider,
            )

    def _may_go_on(self, run: Run, epoch: int) -> bool:
        """Whether a run may be made anew, by its next owner; else it has to end."""
        if self._find is None or not run.request or not 0 < epoch <= self._max_restarts:
            return False
        old = self._run_seconds is not None and time.time() - run.created >= self._run_seconds
        return not old and self._find(run).restart

    def _restart(self, run_id: str, epoch: int) -> None:
        log = self._store.adopt(run_id, epoch)
        live = self._adopted(log) if log is not None else None
        if live is not None:
            self._begin(live)

    def _adopted(self, log: Log) -> ActiveRun | None:
        """A run that is this process's now, and has yet to begin; ``None``: it has ended."""
        assert self._find
        call, restarts = self._find(log.run), log.epoch - 1
        if not restarts:
            return ActiveRun(log, call.provider, call.request, call.context_factory, self._clock)
        past = history_of(log) if call.restart else None
        if past is None:  # The provider could not be told what it has said.
            self._termination.early(log, OWNER_LOST, log.epoch)
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
        return ActiveRun(log, call.provider, request, call.context_factory, self._clock, past.usage)
