"""Start a provider in a task of this process, and end its run with the outcome."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import typing as t
from functools import partial

from flask_aistream.core import events as ev
from flask_aistream.runs.active import ActiveRun
from flask_aistream.runs.active import ActiveRuns
from flask_aistream.runs.bridge import Bridge
from flask_aistream.runs.bridge import LoopTask
from flask_aistream.runs.deadlines import Deadlines
from flask_aistream.runs.detach import DetachMonitor
from flask_aistream.runs.idle import IdleMonitor
from flask_aistream.runs.termination import Termination
from flask_aistream.timing.concurrency import Concurrency
from flask_aistream.timing.timer import Timer

logger = logging.getLogger("flask_aistream")

READ_OUT_SECONDS = 1.0
"""Maximum time for reading the rest of a response after its end marker."""

KILLED = ev.Interrupted("killed")
"""Outcome of a provider whose task was interrupted from outside, by an exception that is no ``Exception``."""


class Launcher:
    """Runs providers: functions in a greenlet or thread each, ``async def`` on the asyncio loop."""

    def __init__(
        self,
        concurrency: Concurrency,
        timer: Timer,
        active_runs: ActiveRuns,
        termination: Termination,
        deadlines: Deadlines,
        idle: IdleMonitor,
        readers: DetachMonitor,
    ) -> None:
        self._concurrency = concurrency
        self._timer = timer
        self._pause = partial(timer.pause, concurrency.waiter)
        self._bridge = Bridge(concurrency.asyncio_loop)
        self._active_runs = active_runs
        self._termination = termination
        self._deadlines = deadlines
        self._idle = idle
        self._readers = readers

    def launch(self, run: ActiveRun) -> None:
        """Start the provider of a run that this process owns. Returns at once."""
        # First: once active, the run may end at any time, which cancels its timers.
        self._deadlines.watch(run)
        self._active_runs.add(run)
        run.log.on_lost(partial(self._termination.on_lost, run))
        self._idle.watch(run)
        self._readers.expect_reader(run)
        try:
            if run.pump.is_async:
                self._start_on_loop(run, None)
            else:
                run.task = self._concurrency.spawn(partial(self._run, run))
                run.task_started()
        except Exception:
            failed = ev.Failed("provider_error", "The provider could not be started.")
            self._termination.finish(run, failed)
            raise

    def _run(self, run: ActiveRun) -> None:
        outcome: t.Any = KILLED
        try:
            outcome = run.pump.variables.run(
                run.pump.run, self._concurrency.yield_control, self._pause
            )
        finally:
            if isinstance(outcome, ev.TERMINAL):
                self._termination.finish(run, outcome)
                if run.pump.unread:
                    self._read_out(run)
            else:
                self._start_on_loop(run, outcome)

    def _read_out(self, run: ActiveRun) -> None:
        """The answer is complete, its HTTP response not: free its connection for another one."""
        if run.task is None:  # Without it, nothing can end a read that blocks.
            run.pump.close_unread()
            return
        limit = self._timer.call_later(READ_OUT_SECONDS, run.task.interrupt)
        try:
            run.pump.read_out()
        finally:
            limit.cancel()

    def _start_on_loop(self, run: ActiveRun, result: t.Any) -> None:
        """
        :param result: The return value of the provider; ``None``: the provider was not called yet.
        """
        work = partial(self._run_on_loop, run, result)
        run.loop_task = LoopTask(self._bridge, work, run.pump.variables)
        run.loop_task.start()
        run.task_started()

    async def _run_on_loop(self, run: ActiveRun, result: t.Any) -> None:
        outcome: ev.Terminal = KILLED
        try:
            outcome = await run.pump.run_async(partial(asyncio.sleep, 0), result)
        except Exception:  # Not the provider's, which the pump reports, but that of its context.
            logger.exception("Run %.8s: the provider's context failed", run.log.run.id)
            outcome = ev.Failed("provider_error", "The provider failed.")
        finally:
            self._finish_from_loop(run, outcome)
        if run.pump.unread:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(run.pump.aread_out(), READ_OUT_SECONDS)

    def _finish_from_loop(self, run: ActiveRun, outcome: ev.Terminal) -> None:
        if run.log.ended:  # The caller that ended it announces it.
            self._active_runs.remove(run)
            return
        finish = partial(self._termination.finish, run, outcome)
        try:
            # Receivers of run_ended are synchronous and may block the loop, which serves all async providers.
            self._concurrency.spawn(finish)
        except RuntimeError:  # No thread can be started.
            finish()
