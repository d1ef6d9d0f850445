"""Access to the gunicorn worker and arbiter of this process, and to gunicorn's internals.

gunicorn passes nothing to applications. The worker is found through the signal handler it installed.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import typing as t
from collections.abc import Callable

from flask_aistream.server.detect import patched_by_gevent
from flask_aistream.server.sockets import descriptor_of

logger = logging.getLogger("flask_aistream")


def find_worker() -> t.Any:
    """The gunicorn worker of this process; ``None`` outside gunicorn."""
    worker = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return worker if hasattr(worker, "alive") and hasattr(worker, "cfg") else None


def replaces_another() -> bool:
    """Whether this worker was started after the first ones: the service has been up before."""
    worker = find_worker()
    return worker is not None and worker.age > worker.cfg.workers


def longest_response() -> float | None:
    """Seconds that a response may take; ``None`` for any time.

    A sync worker does not notify its arbiter while it serves a response, and is killed after ``timeout``.
    """
    worker = find_worker()
    if worker is None or worker.cfg.worker_class_str != "sync":
        return None
    return float(worker.cfg.timeout) / 2 or None


def announce(sentence: str, level: int = logging.INFO) -> None:
    """Log a sentence; under gunicorn once for all workers, in its own log, which shows INFO by default."""
    worker = find_worker()
    if worker is None:
        logger.log(level, sentence)
    elif worker.age == 1:
        worker.log.log(level, sentence)


def close_after(start_response: t.Any) -> None:
    """Let gunicorn close the connection of a response, with ``Connection: close``, instead of keeping it for another
    request. Applications may not set that header. Other servers decide themselves.

    :param start_response: Of the request.
    """
    response: t.Any = getattr(start_response, "__self__", None)
    if hasattr(response, "force_close"):
        response.force_close()


def on_start(callback: Callable[[], None]) -> None:
    """Call back once the worker has loaded the application, before it accepts connections.

    Not with ``--preload``: no worker exists when this is called.
    """
    worker = find_worker()
    if worker is not None:
        hook(worker, "post_worker_init", callback)


def on_quick_exit(worker: t.Any, callback: Callable[[], None]) -> None:
    """Call back when the worker has to exit at once (INT or QUIT), or to load new code (``--reload``)."""
    # On new code, readers could move if the arbiter were asked for one worker more (TTIN) and then one less
    # (TTOU). But such signals merge when several workers send them, a worker killed in between leaves one too
    # many for ever, and while one still leaves, the next save starts no worker: no answer for 20 s.
    hook(worker, "worker_int", callback)


def hook(worker: t.Any, name: str, callback: Callable[[], None]) -> None:
    """Call back before the server hook that is configured."""
    configured = getattr(worker.cfg, name)

    def both(worker: t.Any) -> None:
        callback()
        configured(worker)

    worker.cfg.set(name, both)


def keep_pulse(worker: t.Any) -> None:
    """Let the process notify its arbiter until it exits.

    gunicorn closes the file for that earlier, and the arbiter would kill the process after its ``timeout``.
    """
    worker.tmp.close = lambda: None


def has_arbiter(worker: t.Any) -> bool:
    """Whether the arbiter that started the worker is still running."""
    return bool(worker.ppid == os.getppid())


def listeners_of(worker: t.Any) -> set[str]:
    """The listening sockets that a worker shares with its arbiter, as /proc names open files."""
    if worker.cfg.reuse_port:
        return set()  # Each worker has its own.
    fds = map(descriptor_of, worker.sockets)
    return {f"socket:[{os.fstat(fd).st_ino}]" for fd in fds if fd is not None}


def arbiter_listens(listeners: set[str]) -> bool:
    """Whether the service continues without this worker; where that cannot be seen, assume it does.

    A stopping arbiter closes its listeners before it stops its workers, and gives no other sign. Clients then stay
    connected: no process would accept their reconnection.
    """
    folder = f"/proc/{os.getppid()}/fd"
    held: set[str] = set()
    try:
        for fd in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):  # Closed meanwhile.
                held.add(os.readlink(f"{folder}/{fd}"))
    except OSError:
        return True
    return not listeners or not held.isdisjoint(listeners)


def close_listeners(worker: t.Any) -> None:
    """Free the port while runs finish: another gunicorn may be waiting to bind it.

    Most often gunicorn has closed them. But when its arbiter is gone, a gevent worker exits with its server
    still accepting, and a sync worker never closes them.
    """
    if patched_by_gevent():
        stop_gevent_servers(worker.sockets)
    for listener in worker.sockets:
        with contextlib.suppress(OSError):
            listener.close()


def stop_gevent_servers(listeners: list[t.Any]) -> None:
    """Close the servers that accept on these sockets.

    Closing the socket alone is not enough: the hub would go on watching its descriptor, whatever the number
    is used for next. gunicorn keeps its servers in local variables, so they are found among all objects.
    """
    from gevent.baseserver import BaseServer

    for candidate in gc.get_objects():
        # Not isinstance(): it asks a proxy for the class of its target.
        if issubclass(type(candidate), BaseServer) and getattr(candidate, "socket", 0) in listeners:
            candidate.close()
