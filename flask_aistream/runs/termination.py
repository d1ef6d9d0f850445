"""End runs: first in the log, then in the provider; and tell of each, once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from collections.abc import Sequence
from functools import partial

from flask_aistream.core import events as ev
from flask_aistream.runs.active import ActiveRun
from flask_aistream.runs.active import ActiveRuns
from flask_aistream.runs.ended import RunEnded
from flask_aistream.stores.base import Log
from flask_aistream.stores.base import Store
from flask_aistream.timing.concurrency import Concurrency
from flask_aistream.timing.timer import Timer

logger = logging.getLogger("flask_aistream")

STORE_GONE = ev.Failed(
    "store_unavailable", "What this run says could not be kept any more, so it was ended.", 503
)

STUBBORN_SECONDS = 5.0
"""After being interrupted for so long, a provider that still works is named in the server's log."""


class Termination:
    """
    :param on_end: Told of every run that ends, exactly once each.
    :param heard: Whether anybody listens to that now. Nothing need be started for nobody.
    """

    def __init__(
        self,
        store: Store,
        concurrency: Concurrency,
        timer: Timer,
        active_runs: ActiveRuns,
        *,
        on_end: Callable[[RunEnded], None],
        heard: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._concurrency = concurrency
        self._timer = timer
        self._active_runs = active_runs
        self._on_end = on_end
        self._heard = heard
        self._clock = clock
        self._owed = 0

    def finish(self, live: ActiveRun, terminal: ev.Terminal) -> None:
        """The provider has come to its end."""
        if live.log.ended:  # By somebody else, who tells it.
            self.forget(live)
            return
        self._owe(live, +1)
        try:
            # First: if it has won, it is telling so, while the run may look as if it were lost.
            live.over = True
            won = self._end(live, terminal)
            self.forget(live)
            if won and self._heard():
                self._tell(live.log, terminal, live)
                self._store.flush()
        finally:
            self._owe(live, -1)

    def early(self, log: Log, terminal: ev.Terminal, epoch: int | None = None) -> bool:
        """End a run before its provider does, wherever it is made.

        :param epoch: Only while it has had so many owners.
        :returns: Whether this call ended it.
        """
        live = self._active_runs.get(log.run.id)
        self._owe(live, +1)
        try:
            if not log.end(terminal, epoch=epoch, announced=self._heard()):
                # Who has ended it is now telling so, perhaps in the provider's thread: not to be
                # interrupted.
                return False
            try:
                if live:
                    self._let_go(live)
            finally:  # A provider that ends its own run is interrupted right here.
                if self._heard():
                    self.tell(log, terminal, live)
            return True
        finally:
            self._owe(live, -1)

    def at_once(
        self,
        active_runs: Sequence[ActiveRun],
        terminal: ev.Terminal,
        release: Callable[[ActiveRun], bool],
    ) -> None:
        """End runs of this process before it returns, or leave them to another one.

        :param release: Tries to leave one.
        """
        self._owe(None, +1)
        try:
            released = [live for live in active_runs if release(live)]
            kept = [live for live in active_runs if live not in released]
            ended = [live for live in kept if self._end(live, terminal)]
            for live in (*released, *ended):
                self._let_go(live)
            # Only now: a receiver may take its time, and there is little of it.
            for live in ended if self._heard() else ():
                self._tell(live.log, terminal, live)
            self._store.flush()
        finally:
            self._owe(None, -1)

    def lose(self, live: ActiveRun) -> None:
        """Another process has ended the run or owns it, or the store is gone and it must end here.
        Does not block."""

        def let_go() -> None:
            ended_here = live.log.owned and self.early(live.log, STORE_GONE, live.epoch)
            if not ended_here:
                self._let_go(live)

        self._concurrency.spawn(let_go)

    def forget(self, live: ActiveRun) -> bool:
        """It is not this process's any more, or has ended.

        :returns: Whether its provider is still to be interrupted.
        """
        with self._active_runs.lock:
            working, live.over = not live.over, True
            if (
                self._active_runs.get(live.log.run.id) is live
            ):  # The run may have come back meanwhile.
                del self._active_runs[live.log.run.id]
            live.stay()
        if live.on_over is not None:
            live.on_over()
        return working

    def tell(self, log: Log, terminal: ev.Terminal, live: ActiveRun | None = None) -> None:
        """Announce an end, beside everything else."""

        def tell() -> None:
            try:
                self._tell(log, terminal, live)
                self._store.flush()
            finally:
                self._owe(live, -1)

        self._owe(live, +1)
        try:
            self._concurrency.spawn(tell)
        except RuntimeError:  # No thread can be started.
            tell()
        except BaseException:
            self._owe(live, -1)
            raise

    def settle(
        self, active_runs: Sequence[ActiveRun], patience: float, *, all_told: bool = False
    ) -> None:
        """Wait until the providers have cleaned up and their ends are told.

        :param patience: Seconds.
        :param all_told: And those of all other runs.
        """
        deadline = self._clock() + patience
        while self._clock() < deadline and (
            (all_told and self._owed) or any(live.owed or live.working for live in active_runs)
        ):
            time.sleep(0.01)

    def _end(self, live: ActiveRun, terminal: ev.Terminal) -> bool:
        return live.log.end(terminal, epoch=live.epoch, announced=self._heard())

    def _owe(self, live: ActiveRun | None, ends: int) -> None:
        """From before a run is ended until that is told: the process is not to exit in between."""
        with self._active_runs.lock:
            self._owed += ends
            if live is not None:
                live.owed += ends

    def _let_go(self, live: ActiveRun) -> None:
        if not self.forget(live):
            return
        for callback in live.request.request_stop():
            try:
                callback()
            except Exception:
                logger.exception("Run %s: an on_stop callback failed", live.log.run.id)
        live.interrupt()
        if live.working:
            self._timer.later(STUBBORN_SECONDS, partial(complain, live))

    def _tell(self, log: Log, outcome: ev.Terminal, live: ActiveRun | None) -> None:
        """Announce an end, with its durations where the run was ``live`` here."""
        seconds, first_seconds = max(time.time() - log.run.created, 0.0), None
        if live is not None and not live.request.restarts:
            seconds, first = self._clock() - live.started, live.pump.first_at
            first_seconds = first - live.started if first is not None else None
        ended = RunEnded(log.run, outcome, seconds, first_seconds, log)

        def announce() -> None:
            try:
                self._on_end(ended)
            except Exception:
                logger.exception("Run %s: a run_ended receiver failed", log.run.id)

        log.announce(announce)


def complain(live: ActiveRun) -> None:
    if live.working:
        logger.warning(
            "Run %s of %r was stopped %s s ago, and its provider is still working. Give it "
            "request.on_stop(callback) to end what it waits for.",
            live.log.run.id,
            live.log.run.provider,
            STUBBORN_SECONDS,
        )
