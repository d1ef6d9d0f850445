"""Detect that the server stops this process, drain it, and exit before the server kills it.

gunicorn calls no hook for a graceful stop, but ``worker.alive`` turns false on TERM, HUP and
``max_requests`` alike. Under other servers there is only the end of the interpreter.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import time
import typing as t
import weakref
from collections.abc import Callable

from flask_aistream.server import gunicorn
from flask_aistream.server.drain import Drain
from flask_aistream.server.drain import DrainActions
from flask_aistream.server.drain import DrainEvent
from flask_aistream.server.probe import addresses_of
from flask_aistream.server.probe import answers

POLL_SECONDS = 0.5

# The arbiter sends SIGKILL at its own limit; the process exits before that.
MARGIN_SECONDS = 1.5

PROBE_SECONDS = 5.0
"""Timeout of one probe: a busy successor accepts late."""

WAIT_SECONDS = 0.05
"""Pause between two checks at exit for remaining runs."""


class Lifecycle:
    """Drains this process when the server stops it.

    :param announce: Report the process as leaving.
    :param refuse_starts: Refuse new runs.
    :param running: Number of runs that have not ended.
    :param interrupt: End those runs. May block for a moment.
    :param recall: Ask a batch of clients, or all, to reconnect; returns whether some are left. ``None``
        where no other process could serve them.
    :param later: Calls back after some seconds; the callback must not block.
    :param spawn: Runs work beside everything else.
    :param budget: Seconds that runs may continue after the stop; ``None``: as long as gunicorn allows.
    """

    def __init__(
        self,
        *,
        announce: Callable[[], None],
        refuse_starts: Callable[[], None],
        running: Callable[[], int],
        interrupt: Callable[[], None],
        recall: Callable[[bool], bool] | None,
        later: Callable[[float, Callable[[], None]], object],
        spawn: Callable[[Callable[[], None]], object],
        budget: float | None,
    ) -> None:
        self._worker = worker = gunicorn.find_worker()
        self._running = running
        self._later = later
        self._deadline: float | None = None
        self._pid = os.getpid()
        self._drain = Drain(
            DrainActions(announce, refuse_starts, interrupt, recall or stay, self._find_successor),
            later=later,
            spawn=spawn,
            budget=budget_of(worker) if budget is None else budget,
        )
        # Weakly: an application that is gone, as after a test, is not kept for its end.
        atexit.register(exit_of, weakref.ref(self))
        if worker is not None:
            self._listeners = gunicorn.listeners_of(worker)
            self._addresses = addresses_of(worker.sockets)
            gunicorn.keep_pulse(worker)
            gunicorn.on_quick_exit(worker, self._hurry)
            self._poll()

    def _poll(self) -> None:
        if self._worker.alive and gunicorn.has_arbiter(self._worker):
            self._later(POLL_SECONDS, self._poll)
        else:
            self._start_deadline()
            self._drain.handle(DrainEvent.STOP)

    def _find_successor(self) -> bool | None:
        """Whether another worker accepts connections; ``None``: the service stops. Blocks."""
        if not self._service_continues():
            return None
        tls = self._worker.cfg.is_ssl
        answered = not self._addresses or any(
            answers(address, PROBE_SECONDS, tls=tls) for address in self._addresses
        )
        # The arbiter may have begun to stop during the probe.
        return answered if self._service_continues() else None

    def _service_continues(self) -> bool:
        return gunicorn.has_arbiter(self._worker) and gunicorn.arbiter_listens(self._listeners)

    def _start_deadline(self) -> None:
        if self._deadline is None:
            self._deadline = time.monotonic() + self._drain.budget

    def _hurry(self) -> None:
        self._drain.budget = 0.0
        self._deadline = time.monotonic()

    def exit(self) -> None:
        """Finish the remaining runs. gunicorn exits once no connection is open, but runs may continue without one."""
        if self._pid != os.getpid():
            return  # A forked child: the runs are its parent's.
        self._start_deadline()
        self._drain.handle(DrainEvent.EXIT)
        if self._worker is not None:
            gunicorn.close_listeners(self._worker)
        # Ctrl-C reaches a worker twice, from the terminal and from the arbiter, and the second one raises
        # SystemExit in the middle of this.
        for finish in (self._wait, self._interrupt, self._interrupt):
            with contextlib.suppress(SystemExit):
                finish()

    def _wait(self) -> None:
        while self._worker is not None and self._running() and self._left():
            self._worker.tmp.notify()
            time.sleep(WAIT_SECONDS)

    def _left(self) -> float:
        assert self._deadline is not None
        return max(self._deadline - time.monotonic(), 0.0)

    def _interrupt(self) -> None:
        self._drain.handle(DrainEvent.BUDGET_SPENT)


def stay(all_clients: bool) -> bool:
    """Recall no client: no other process could serve it."""
    return False


def exit_of(lifecycle: weakref.ref[Lifecycle]) -> None:
    alive = lifecycle()
    if alive is not None:
        alive.exit()


def budget_of(worker: t.Any) -> float:
    """Seconds from the first sign of leaving to the arbiter's SIGKILL, less what we need ourselves."""
    if worker is None:
        return 0.0
    return max(float(worker.cfg.graceful_timeout) - POLL_SECONDS - MARGIN_SECONDS, 0.0)
