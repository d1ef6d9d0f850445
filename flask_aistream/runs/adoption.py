"""Become the owner of a run that another process started, and call its provider here."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from flask_aistream.core import events as ev
from flask_aistream.errors import LogEnded
from flask_aistream.runs.active import ActiveRun
from flask_aistream.runs.active import ActiveRuns
from flask_aistream.runs.launch import Launcher
from flask_aistream.runs.restart import RestartRule
from flask_aistream.runs.restart import history_of
from flask_aistream.runs.termination import STUBBORN_SECONDS
from flask_aistream.runs.termination import Termination
from flask_aistream.stores.base import Log
from flask_aistream.stores.base import Store
from flask_aistream.timing.concurrency import Concurrency

logger = logging.getLogger("flask_aistream")

OWNER_LOST = ev.Interrupted("owner-lost")

CLEANUP_SECONDS = 1.0
"""Time that a provider has to clean up when the worker that waits for its run is interrupted."""


class Adoption:
    def __init__(
        self,
        store: Store,
        concurrency: Concurrency,
        active_runs: ActiveRuns,
        termination: Termination,
        launcher: Launcher,
        restarts: RestartRule,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._concurrency = concurrency
        self._active_runs = active_runs
        self._termination = termination
        self._launcher = launcher
        self._restarts = restarts
        self._clock = clock

    def execute(self, run_id: str, epoch: int) -> ev.Terminal | None:
        """See :meth:`Runner.execute`."""
        log = self._store.adopt(run_id, epoch)
        if log is None:
            return None
        run = self._activate(log)
        if run is not None:
            self._run_to_end(run)
        return log.terminal

    def restart(self, run_id: str, epoch: int) -> None:
        """Adopt a run, and launch its provider. Does nothing if another process was faster."""
        log = self._store.adopt(run_id, epoch)
        run = self._activate(log) if log is not None else None
        if run is not None:
            self._launcher.launch(run)

    def _activate(self, log: Log) -> ActiveRun | None:
        """Prepare an adopted run for the launcher; ``None``: it has ended."""
        call, restarts = self._restarts.resolve(log.run), log.epoch - 1
        if not restarts:
            return ActiveRun(log, call, self._clock)
        history = history_of(log) if call.restart else None
        if history is None:  # The beginning was trimmed, so the provider cannot continue.
            self._termination.end(log, OWNER_LOST, log.epoch)
            return None
        logger.warning(
            "Run %.8s of %r has lost its process and is restarted in this one.",
            log.run.id,
            log.run.provider,
        )
        try:
            for event in history.closing:
                log.append(event)
        except LogEnded:  # Stopped or adopted by another process meanwhile.
            return None
        request = replace(call.request, so_far=history.text, restarts=restarts)
        return ActiveRun(log, replace(call, request=request), self._clock, history.usage)

    def _run_to_end(self, run: ActiveRun) -> None:
        waiter = self._concurrency.waiter()
        run.on_removed = waiter.wake
        try:
            self._launcher.launch(run)
            while self._active_runs.get(run.log.run.id) is run:
                waiter.wait()
            self._termination.join([run], STUBBORN_SECONDS)
        except BaseException:
            self._termination.end_all([run], ev.Interrupted("drain"))
            self._termination.join([run], CLEANUP_SECONDS)
            raise
