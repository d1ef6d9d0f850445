"""End runs: append the terminal event, interrupt the provider, announce the end. In this order."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from flask_aistream.core import events as ev
from flask_aistream.runs.active import ActiveRun
from flask_aistream.runs.active import ActiveRuns
from flask_aistream.runs.announcer import Announcer
from flask_aistream.runs.restart import RestartRule
from flask_aistream.stores.base import Log
from flask_aistream.stores.base import Store
from flask_aistream.timing.concurrency import Concurrency
from flask_aistream.timing.timer import Timer

logger = logging.getLogger("flask_aistream")

STORE_GONE = ev.Failed(
    "store_unavailable", "The store is unavailable, so this run could not be continued.", 503
)

STUBBORN_SECONDS = 5.0
"""A provider that still works this long after its interruption is reported in the server's log."""

JOIN_POLL_SECONDS = 0.01


class Termination:
    """Ends runs. While an end is not delivered, :meth:`join` keeps the process from exiting."""

    def __init__(
        self,
        store: Store,
        concurrency: Concurrency,
        timer: Timer,
        active_runs: ActiveRuns,
        restarts: RestartRule,
        announcer: Announcer,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._concurrency = concurrency
        self._timer = timer
        self._active_runs = active_runs
        self._restarts = restarts
        self._announcer = announcer
        self._clock = clock

    def finish(self, run: ActiveRun, outcome: ev.Terminal) -> None:
        """End a run whose provider has returned."""
        if run.log.ended:
            self._active_runs.remove(run)
            return
        with self._announcer.expect(run.log.run.id):
            # Set first: a lost-run callback must not interrupt this thread, which ends the run.
            run.ending = True
            ended = self._append(run, outcome)
            self._active_runs.remove(run)
            if ended:
                self._announcer.announce(run.log, run)

    def end(self, log: Log, terminal: ev.Terminal, epoch: int | None = None) -> bool:
        """End a run before its provider returns, in whichever process that works.

        :param epoch: Only if this is still the epoch of the run; ``None``: in any epoch.
        :returns: Whether this call ended the run.
        """
        run = self._active_runs.get(log.run.id)
        with self._announcer.expect(log.run.id):
            if not log.end(dated(terminal), epoch=epoch, claim=self._announcer.listening):
                # Do not interrupt: the caller that ended it may be in the provider's thread.
                return False
            try:
                if run is not None:
                    self._interrupt(run)
            finally:  # A provider that stops its own run is interrupted at this point.
                self._announcer.announce(log, run)
            return True

    def end_all(self, runs: Sequence[ActiveRun], terminal: ev.Terminal) -> None:
        """Release runs to another process where the restart rule allows it, and end the others.

        Returns when the ends are delivered.
        """
        released: list[ActiveRun] = []
        kept: list[ActiveRun] = []
        for run in runs:
            (released if self._release(run) else kept).append(run)
        ended = [run for run in kept if self._append(run, terminal)]
        for run in (*released, *ended):
            self._interrupt(run)
        # Delivered last: a receiver may be slow, and the process has little time left.
        self._announcer.announce_all(ended)

    def on_lost(self, run: ActiveRun) -> None:
        """Stop work on a run that another process has ended or adopted, or whose store is gone.

        Does not block.
        """
        self._concurrency.spawn(partial(self._give_up, run))

    def join(self, runs: Sequence[ActiveRun], timeout: float, *, all_ends: bool = False) -> None:
        """Wait until the providers of ``runs`` have cleaned up and their ends are delivered.

        :param timeout: In seconds.
        :param all_ends: Wait for the ends of all other runs, too.
        """
        deadline = self._clock() + timeout
        while self._clock() < deadline and (
            (all_ends and self._announcer.is_pending())
            or any(self._announcer.is_pending(run.log.run.id) or run.working for run in runs)
        ):
            time.sleep(JOIN_POLL_SECONDS)
        self._store.flush()

    def _append(self, run: ActiveRun, terminal: ev.Terminal) -> bool:
        return run.log.end(dated(terminal), epoch=run.epoch, claim=self._announcer.listening)

    def _release(self, run: ActiveRun) -> bool:
        may_restart = self._store.shared and self._restarts.allows(run.log.run, run.epoch)
        return may_restart and run.log.release()

    def _give_up(self, run: ActiveRun) -> None:
        ended = run.log.owned and self.end(run.log, STORE_GONE, run.epoch)
        if not ended:
            self._interrupt(run)

    def _interrupt(self, run: ActiveRun) -> None:
        if not self._active_runs.remove(run):
            return
        for callback in run.request.request_stop():
            try:
                callback()
            except Exception:
                logger.exception("Run %.8s: an on_stop callback failed", run.log.run.id)
        run.interrupt()
        if run.working:
            self._timer.call_later(STUBBORN_SECONDS, partial(report_stubborn, run))


def dated(terminal: ev.Terminal) -> ev.Terminal:
    """``terminal`` at the present time."""
    if type(terminal) is ev.Finished:  # Nearly always; replace() takes three times as long.
        return ev.Finished(terminal.reason, time.time())
    return replace(terminal, at=time.time())


def report_stubborn(run: ActiveRun) -> None:
    if run.working:
        logger.warning(
            "Run %.8s of %r was stopped %s s ago, and its provider is still working. Give it "
            "request.on_stop(callback) to end what it waits for.",
            run.log.run.id,
            run.log.run.provider,
            STUBBORN_SECONDS,
        )
