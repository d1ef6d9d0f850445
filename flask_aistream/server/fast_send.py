"""Short writes to gevent's sockets.

A page of a stream nearly always fits into what the kernel has free. gevent's ``sendall`` asks for the size
of that, and cuts and loops, for each page; to try first takes 3 to 5 µs less, of 20 that a page takes.
"""

from __future__ import annotations

import typing as t

from gevent.socket import socket


class QuickSocket(socket):  # type: ignore[misc]
    """Gives the kernel all of it at once, and leaves what it did not take to gevent."""

    __slots__ = ()  # What a socket can become has the same ones.

    def sendall(self, data: t.Any, flags: int = 0) -> None:
        if type(data) is not bytes:
            super().sendall(data, flags)
            return
        try:
            sent = self._sock.send(data, flags)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            super().sendall(memoryview(data)[sent:], flags)


def quicken(connection: t.Any) -> None:
    """Where it is a plain socket of gevent's. One of TLS has another way to write."""
    if type(connection) is socket:
        connection.__class__ = QuickSocket
