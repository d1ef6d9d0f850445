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

from flask_aistream.server.probe import addresses_of
from flask_aistream.server.probe import answers
from flask_aistream.server.sockets import descriptor_of

POLL_SECONDS = 0.5

ACCEPTING_SECONDS = 1.5
"""How long a leaving worker, and others that leave with it, may still accept connections: gunicorn's look
once a second whether they are to leave. Before that, whoever was sent away could come back to one of them."""

ASK_SECONDS, PAUSE_SECONDS = 5.0, 0.2
"""How long to wait for an answer of somebody else, and between two questions. The first is long, since a busy
process hears of an answer late; who does answer is heard of at once."""

# The arbiter kills at its limit without another word; what is left must be said before.
MARGIN_SECONDS = 1.5

STEP_SECONDS = 0.1
"""Between two groups of readers that are sent away: all in one moment would be too many for the others."""

CLEANUP_SECONDS = 1.0
"""Time that providers get to clean up after they were interrupted."""


class Runs(t.Protocol):
    """What of a runner is needed here."""

    leaving: bool

    @property
    def count(self) -> int: ...
    def drain(self) -> None: ...
    def interrupt_all(self, cause: str, patience: float) -> None: ...


class Recall(t.Protocol):
    def __call__(self, *, everybody: bool) -> bool: ...


def keep(*, everybody: bool) -> bool:
    """Send nobody away."""
    return False


def find_worker() -> t.Any:
    """The gunicorn worker this process is, or ``None``."""
    worker = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return worker if hasattr(worker, "alive") and hasattr(worker, "cfg") else None


def worker_count() -> int:
    """How many processes serve this application, as far as we can see; 1 where we cannot."""
    worker = find_worker()
    return int(worker.cfg.workers) if worker is not None else 1


def replaces_another() -> bool:
    """Whether the service was there before this worker, which was started later than the first ones."""
    worker = find_worker()
    return worker is not None and worker.age > worker.cfg.workers


def longest_response() -> float | None:
    """Seconds that a response may take; ``None`` for any.

    A sync worker shows no sign of life while it is busy with one, and is killed after ``timeout``.
    """
    worker = find_worker()
    if worker is None or worker.cfg.worker_class_str != "sync":
        return None
    return float(worker.cfg.timeout) / 2 or None


def announce(sentence: str) -> None:
    """Say something once for all workers, in gunicorn's own log: ours may not be shown."""
    worker = find_worker()
    if worker is not None and worker.age == 1:
        worker.log.info(sentence)


class Lifecycle:
    """Watches over the end of this process.

    :param later: Calls back after some seconds; the callback must not block.
    :param spawn: Runs work beside everything else.
    :param recall: Tells some clients of this process, or everybody, to come back to another one, and
        returns whether there are more; ``None`` where no other could go on with what they read. Must not
        block.
    :param budget: Seconds runs may go on once the worker is leaving; ``None``: what gunicorn allows.
    """

    def __init__(
        self,
        runs: Runs,
        *,
        later: Callable[[float, Callable[[], None]], object],
        spawn: Callable[[Callable[[], None]], object],
        recall: Recall | None = None,
        budget: float | None,
    ) -> None:
        self._runs = runs
        self._later = later
        self._spawn = spawn
        self._recall = recall or keep
        self._worker = find_worker()
        self._budget = budget if budget is not None else budget_of(self._worker)
        self._leaving_since: float | None = None
        self._pid = os.getpid()
        # Weakly: an application that is gone, as after a test, is not to be kept for this.
        atexit.register(hold, weakref.ref(self))
        if self._worker is not None:
            self._doors = doors_of(self._worker)
            self._addresses = addresses_of(self._worker.sockets)
            keep_pulse(self._worker)
            on_quick_exit(self._worker, self._hurry)
            self._poll()

    def _poll(self) -> None:
        if self._worker.alive:
            self._later(POLL_SECONDS, self._poll)
        else:
            self._leave()
            self._later(min(ACCEPTING_SECONDS, self._budget / 2), self._part)
            self._later(self._left(), self._interrupt_beside)

    def _part(self) -> None:
        """Go on as before until somebody else serves clients, if anybody will."""
        if self._left() and arbiter_holds(self._doors):
            self._spawn(self._ask)
        else:
            self._runs.drain()

    def _ask(self) -> None:
        tls = self._worker.cfg.is_ssl
        known = self._addresses
        answered = not known or any(answers(it, ASK_SECONDS, tls=tls) for it in known)
        self._later(*((0.0, self._move) if answered else (PAUSE_SECONDS, self._part)))

    def _move(self) -> None:
        self._runs.drain()
        if self._left() and arbiter_holds(self._doors):  # It may have stopped meanwhile.
            self._send_away()

    def _send_away(self) -> None:
        if self._recall(everybody=False):
            self._later(STEP_SECONDS, self._send_away)

    def _leave(self) -> None:
        if self._leaving_since is None:
            self._leaving_since = time.monotonic()
            self._runs.leaving = True

    def _left(self) -> float:
        assert self._leaving_since is not None
        return max(self._leaving_since + self._budget - time.monotonic(), 0.0)

    def hold(self) -> None:
        """At exit: gunicorn leaves once no connection is open, but runs may still be going on."""
        if self._pid != os.getpid():
            return  # A child of a fork: the runs are its parent's.
        self._leave()
        self._runs.drain()
        # Ctrl-C reaches a worker twice, from the terminal and from the arbiter, and the second one
        # exits once more in the middle of this.
        for step in (self._wait, self._interrupt, self._interrupt):
            with contextlib.suppress(SystemExit):
                step()

    def _wait(self) -> None:
        while self._worker is not None and self._runs.count and self._left():
            self._worker.tmp.notify()
            time.sleep(0.05)

    def _hurry(self) -> None:
        self._budget = 0.0

    def _interrupt_beside(self) -> None:
        self._spawn(self._interrupt)

    def _interrupt(self) -> None:
        self._runs.drain()
        self._runs.interrupt_all("drain", CLEANUP_SECONDS)
        self._recall(everybody=True)  # Whoever still reads here reads the run of another process.


def hold(lifecycle: weakref.ref[Lifecycle]) -> None:
    alive = lifecycle()
    if alive is not None:
        alive.hold()


def keep_pulse(worker: t.Any) -> None:
    """Let :meth:`Lifecycle.hold` show the arbiter that we are alive, or it would kill us after its
    ``timeout``: gunicorn closes the file for that before a process exits. The system will do so, too.
    """
    worker.tmp.close = lambda: None


def on_start(callback: Callable[[], None]) -> None:
    """Call back once the worker has loaded the application, before it takes connections.

    Not with ``--preload``: there is no worker yet when this is called.
    """
    worker = find_worker()
    if worker is not None:
        hook(worker, "post_worker_init", callback)


def on_quick_exit(worker: t.Any, callback: Callable[[], None]) -> None:
    """Call back when the worker is told to exit at once (INT or QUIT), or has seen new code (``--reload``),
    and not when it has finished.
    """
    # With new code readers could move, if the arbiter were asked for one worker more (TTIN) and then one less
    # (TTOU). But such signals merge when several workers send them, a worker killed in between leaves one too
    # many for ever, and while one still leaves, the next save gets no worker: nobody answered for 20 s.
    hook(worker, "worker_int", callback)


def hook(worker: t.Any, name: str, callback: Callable[[], None]) -> None:
    others = getattr(worker.cfg, name)

    def both(worker: t.Any) -> None:
        callback()
        others(worker)

    worker.cfg.set(name, both)


def doors_of(worker: t.Any) -> set[str]:
    """What the worker and its arbiter listen on, by the names that /proc gives to open files."""
    if worker.cfg.reuse_port:
        return set()  # Each worker has its own.
    fds = map(descriptor_of, worker.sockets)
    return {f"socket:[{os.fstat(fd).st_ino}]" for fd in fds if fd is not None}


def arbiter_holds(doors: set[str]) -> bool:
    """Whether the service goes on without us; where that cannot be seen, it does.

    An arbiter that was told to stop lets go of what it listened on before it tells its workers. It
    says so in no other way. Clients had then better stay: nobody would answer them.
    """
    folder = f"/proc/{os.getppid()}/fd"
    held: set[str] = set()
    try:
        for fd in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):  # Closed meanwhile.
                held.add(os.readlink(f"{folder}/{fd}"))
    except OSError:
        return True
    return not doors or not held.isdisjoint(doors)


def budget_of(worker: t.Any) -> float:
    """Seconds from the first sign of leaving to the arbiter's kill, less what we need ourselves."""
    if worker is None:
        return 0.0
    return max(float(worker.cfg.graceful_timeout) - POLL_SECONDS - MARGIN_SECONDS, 0.0)
