"""The socket below a response: found, bounded, cut off.

A client that stops reading must cost neither memory nor a thread for ever. The kernel would take up to
4 MB for it and then wait without limit.
"""

from __future__ import annotations

import _socket
import contextlib
import os
import socket
import typing as t
from collections.abc import Callable

SEND_BUFFER = 64 * 1024
"""Bytes that the kernel may hold for one client (Linux doubles it). On a path of 100 ms that still lets
a megabyte a second through."""

UNACKNOWLEDGED = 1.5
"""How much longer than the watchdog the kernel waits. It is there for clients that vanish while nothing
is written; of one that vanishes during a write, gunicorn reports the kernel's error with a traceback,
and the watchdog's not at all."""

INTERNET = (socket.AF_INET, socket.AF_INET6)


def socket_of(environ: dict[str, t.Any]) -> t.Any:
    """The connection of a request, where the server tells it, else ``None``.

    gunicorn (gevent, gthread, sync) and werkzeug put the socket into the environment; gevent's own
    WSGI server holds it behind its input.
    """
    for key in ("gunicorn.socket", "gunicorn.sock", "werkzeug.socket"):
        if key in environ:
            return environ[key]
    raw = getattr(getattr(environ.get("wsgi.input"), "rfile", None), "raw", None)
    return getattr(raw, "_sock", None)


def is_shared(environ: dict[str, t.Any]) -> bool:
    """Whether the connection carries other responses beside this one."""
    return environ.get("HTTP_VERSION") == "2"


def descriptor_of(connection: t.Any) -> int | None:
    """The number of an open socket, ``None`` for a closed one or none at all."""
    try:
        fd = connection.fileno()
    except (AttributeError, OSError):
        return None
    return fd if isinstance(fd, int) and fd >= 0 else None


def bound(connection: t.Any, seconds: float) -> None:
    """Bound what the kernel holds for this client, and for how long it waits for one that vanished."""
    if getattr(connection, "family", None) not in INTERNET:
        return
    with contextlib.suppress(OSError):  # It is gone already, or this kernel has no such option.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        limit = int(seconds * UNACKNOWLEDGED * 1000)
        connection.setsockopt(socket.IPPROTO_TCP, USER_TIMEOUT, limit)


def unbound(fd: int) -> None:
    """Let the kernel choose again what it holds, for whatever else is sent on a connection that is kept.

    To set the old size would not do: a size that was set is one that does not grow.
    """
    try_on(fd, lambda same: same.setsockopt(socket.SOL_SOCKET, BUFFER_LOCK, 0))


USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", -1)

BUFFER_LOCK = 72
"""SO_BUF_LOCK of Linux (5.15), which Python has no name for."""


def cut(fd: int) -> None:
    """End a connection under the hands of whoever is writing to it."""
    try_on(fd, lambda same: same.shutdown(socket.SHUT_RDWR))


def hang_up(fd: int) -> None:
    """Say that nothing more will come. What was written before still arrives."""
    try_on(fd, lambda same: same.shutdown(socket.SHUT_WR))


def take_error(fd: int) -> None:
    """Take away the error that the next write would be told first.

    Of a client that vanished that is a time-out, which gunicorn reports with a traceback. Without it
    the write is told that the connection is closed, which is no news to anybody.
    """
    try_on(fd, lambda same: same.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))


def try_on(fd: int, act: Callable[[_socket.socket], object]) -> None:
    """Do something to a socket that may be gone by now, which is fine."""
    # A copy of the descriptor: closing ours must not close the server's, and a TLS socket would first
    # try to say goodbye. Of the plain kind, which gevent's hub knows nothing of.
    with contextlib.suppress(OSError):
        same = _socket.socket(fileno=os.dup(fd))
        try:
            act(same)
        finally:
            same.close()
