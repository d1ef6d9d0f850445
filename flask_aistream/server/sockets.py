"""The socket below a response: find it, bound what the kernel buffers, shut it down.

A client that stops reading must not cost memory or a thread for ever. Without bounds the kernel buffers up
to 4 MB for it, and then a write blocks without limit.
"""

from __future__ import annotations

import _socket
import contextlib
import os
import socket
import struct
import sys
import time
import typing as t
from collections.abc import Callable

SEND_BUFFER = 64 * 1024
"""Bytes that the kernel may buffer for one client (Linux doubles it). At a round trip of 100 ms that still
allows a megabyte a second."""

UNACKNOWLEDGED = 1.5
"""TCP_USER_TIMEOUT, as a multiple of the watchdog's patience. The watchdog should come first: gunicorn logs
the kernel's error with a traceback. The kernel covers clients that vanish while nothing is written."""

ACKNOWLEDGE_SECONDS = 1.0
ACKNOWLEDGE_STEP = 0.001
"""How long a response that was written waits for the acknowledgement, and the first of the pauses."""

SIOCOUTQ = 0x5411
TCP_INFO = 11
TCP_CLOSE = 7
"""Of Linux; Python has no names for the first and the last. The first byte of TCP_INFO is the state."""

INTERNET = (socket.AF_INET, socket.AF_INET6)


def socket_of(environ: dict[str, t.Any]) -> t.Any:
    """The connection of a request, or ``None`` if the server does not reveal it.

    gunicorn (gevent, gthread, sync) and werkzeug put the socket into the environment; gevent's own
    WSGI server holds it behind its input.
    """
    for key in ("gunicorn.socket", "gunicorn.sock", "werkzeug.socket"):
        if key in environ:
            return environ[key]
    raw = getattr(getattr(environ.get("wsgi.input"), "rfile", None), "raw", None)
    return getattr(raw, "_sock", None)


def is_shared(environ: dict[str, t.Any]) -> bool:
    """Whether the connection may carry other responses at the same time (HTTP/2)."""
    return environ.get("HTTP_VERSION") == "2"


def descriptor_of(connection: t.Any) -> int | None:
    """The file descriptor of an open socket; ``None`` for a closed one, or for none."""
    try:
        fd = connection.fileno()
    except (AttributeError, OSError):
        return None
    return fd if isinstance(fd, int) and fd >= 0 else None


def bound(connection: t.Any, seconds: float) -> None:
    """Bound what the kernel buffers for this client, and how long it waits for an acknowledgement."""
    if getattr(connection, "family", None) not in INTERNET:
        return
    with contextlib.suppress(OSError):  # Closed already, or the kernel has no such option.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        limit = int(seconds * UNACKNOWLEDGED * 1000)
        connection.setsockopt(socket.IPPROTO_TCP, USER_TIMEOUT, limit)


def unbound(fd: int) -> None:
    """Let the kernel size the buffer again, for other responses on a connection that is kept alive.

    Setting the old size is not enough: a size that was set by hand does not grow.
    """
    try_on(fd, lambda same: same.setsockopt(socket.SOL_SOCKET, BUFFER_LOCK, 0))


USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", -1)

BUFFER_LOCK = 72
"""SO_BUF_LOCK of Linux 5.15; Python has no name for it."""


def cut(fd: int) -> None:
    """Shut a connection down while another thread may be writing to it."""
    try_on(fd, lambda same: same.shutdown(socket.SHUT_RDWR))


def hang_up(fd: int) -> None:
    """Shut down the sending side. What was written before still arrives."""
    try_on(fd, lambda same: same.shutdown(socket.SHUT_WR))


def stop_receiving(fd: int) -> None:
    """Shut down the receiving side: a read of another thread or greenlet ends. Bytes can still be sent."""
    try_on(fd, lambda same: same.shutdown(socket.SHUT_RD))


def take_error(fd: int) -> None:
    """Clear the pending error of a socket, which the next write would raise.

    For a client that vanished it is a timeout, which gunicorn logs with a traceback. Without it the write
    raises EPIPE, which servers ignore.
    """
    try_on(fd, lambda same: same.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))


def is_acknowledged(fd: int) -> bool:
    """Whether the peer of a connection acknowledges every byte that was sent to it. Waits for it, but not for long.

    :returns: False: it has not, it has reset the connection, or the platform does not say.
    """
    deadline, pause = time.monotonic() + ACKNOWLEDGE_SECONDS, ACKNOWLEDGE_STEP
    while bytes_in_flight(fd) and time.monotonic() < deadline:
        time.sleep(pause)
        pause = min(pause * 2, ACKNOWLEDGE_SECONDS / 20)
    return bytes_in_flight(fd) == 0


def bytes_in_flight(fd: int) -> int | None:
    """Bytes that were written, and that the peer has not acknowledged.

    :returns: ``None``: the connection is reset or closed, or the platform does not say.
    """
    found: list[int] = []

    def ask(same: _socket.socket) -> None:
        if (
            same.family in INTERNET
            and same.getsockopt(socket.IPPROTO_TCP, TCP_INFO, 1)[0] == TCP_CLOSE
        ):
            return
        from fcntl import ioctl  # Not on Windows.

        found.append(*struct.unpack("i", ioctl(same.fileno(), SIOCOUTQ, bytes(4))))

    if sys.platform == "linux":
        try_on(fd, ask)
    return found[0] if found else None


def try_on(fd: int, act: Callable[[_socket.socket], object]) -> None:
    """Apply ``act`` to the socket of a descriptor; do nothing if it is closed."""
    # On a copy of the descriptor: closing ours must not close the server's, and a TLS socket would first
    # send a closing alert. As a plain socket, which gevent's hub does not watch.
    with contextlib.suppress(OSError):
        same = _socket.socket(fileno=os.dup(fd))
        try:
            act(same)
        finally:
            same.close()
