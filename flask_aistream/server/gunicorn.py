"""Notice that a gunicorn worker is going away, and end well before it is killed.

gunicorn calls no hook for a graceful stop, but ``worker.alive`` turns false on TERM, HUP and
``max_requests`` alike; the worker is found through the signal handler it installed.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import time
import typing as t
import weakref
from collections.abc import Callable

POLL_SECONDS = 0.5

# The arbiter kills at its limit without another word; what is left must be said before.
MARGIN_SECONDS = 1.5

CLEANUP_SECONDS = 1.0
"""Time that providers get to clean up after they were interrupted."""


class Runs(t.Protocol):
    """What of a runner is needed here."""

    @property
    def count(self) -> int: ...
    def drain(self) -> None: ...
    def interrupt_all(self, cause: str, patience: float) -> None: ...


def find_worker() -> t.Any:
    """The gunicorn worker this process is, or ``None``."""
    worker = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return worker if hasattr(worker, "alive") and hasattr(worker, "cfg") else None


def worker_count() -> int:
    """How many processes serve this application, as far as we can see; 1 where we cannot."""
    worker = find_worker()
    return int(worker.cfg.workers) if worker is not None else 1


def announce(sentence: str) -> None:
    """Say something once for all workers, in gunicorn's own log: ours may not be shown."""
    worker = find_worker()
    if worker is not None and worker.age == 1:
        worker.log.info(sentence)


class Lifecycle:
    """Watches over the end of this process.

    :param later: Calls back after some seconds; the callback must not block.
    :param spawn: Runs work beside everything else.
    :param budget: Seconds runs may go on once the worker is leaving; ``None``: what gunicorn allows.
    """

    def __init__(
        self,
        runs: Runs,
        *,
        later: Callable[[float, Callable[[], None]], object],
        spawn: Callable[[Callable[[], None]], object],
        budget: float | None,
    ) -> None:
        self._runs = runs
        self._later = later
        self._spawn = spawn
        self._worker = find_worker()
        self._budget = budget if budget is not None else budget_of(self._worker)
        self._leaving_since: float | None = None
        self._pid = os.getpid()
        # Weakly: an application that is gone, as after a test, is not to be kept for this.
        atexit.register(hold, weakref.ref(self))
        if self._worker is not None:
            on_quick_exit(self._worker, self._hurry)
            self._poll()

    def _poll(self) -> None:
        if self._worker.alive:
            self._later(POLL_SECONDS, self._poll)
        else:
            self._leave()
            self._later(self._left(), self._interrupt_beside)

    def _leave(self) -> None:
        if self._leaving_since is None:
            self._leaving_since = time.monotonic()
            self._runs.drain()

    def _left(self) -> float:
        assert self._leaving_since is not None
        return max(self._leaving_since + self._budget - time.monotonic(), 0.0)

    def hold(self) -> None:
        """At exit: gunicorn leaves once no connection is open, but runs may still be going on."""
        if self._pid != os.getpid():
            return  # A child of a fork: the runs are its parent's.
        self._leave()
        # Ctrl-C reaches a worker twice, from the terminal and from the arbiter, and the second one
        # exits once more in the middle of this.
        for step in (self._wait, self._interrupt, self._interrupt):
            with contextlib.suppress(SystemExit):
                step()

    def _wait(self) -> None:
        while self._worker is not None and self._runs.count and self._left():
            time.sleep(0.05)

    def _hurry(self) -> None:
        self._budget = 0.0

    def _interrupt_beside(self) -> None:
        self._spawn(self._interrupt)

    def _interrupt(self) -> None:
        self._runs.interrupt_all("drain", CLEANUP_SECONDS)


def hold(lifecycle: weakref.ref[Lifecycle]) -> None:
    alive = lifecycle()
    if alive is not None:
        alive.hold()


def on_quick_exit(worker: t.Any, callback: Callable[[], None]) -> None:
    """Call back when the worker is told to exit at once (INT or QUIT) and not when it has finished."""
    others = worker.cfg.worker_int

    def worker_int(worker: t.Any) -> None:
        callback()
        others(worker)

    worker.cfg.set("worker_int", worker_int)


def budget_of(worker: t.Any) -> float:
    """Seconds from the first sign of leaving to the arbiter's kill, less what we need ourselves."""
    if worker is None:
        return 0.0
    limits = (worker.cfg.graceful_timeout, worker.cfg.timeout or worker.cfg.graceful_timeout)
    return max(float(min(limits)) - POLL_SECONDS - MARGIN_SECONDS, 0.0)
