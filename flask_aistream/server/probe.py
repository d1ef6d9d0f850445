"""Ask whether anybody answers at the addresses of this server, without asking for anything.

A connection is made and ends at once. Whoever accepts it sees the end and closes it, and nothing is
logged; while nobody does, it waits in the kernel. A worker whose threads are all taken accepts and does
not close, so what is known then is that a client would be served.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import typing as t

from flask_aistream.server.sockets import descriptor_of

Address = tuple[int, t.Any]
"""Family and name of a listening socket: 0.0.0.0 is connected to as it stands."""


def addresses_of(listeners: t.Iterable[t.Any]) -> list[Address]:
    """Where they listen. Those that are closed are left out."""
    return [(it.family, it.getsockname()) for it in listeners if descriptor_of(it) is not None]


def answers(address: Address, seconds: float, *, tls: bool) -> bool:
    """Whether a new connection is served within so many seconds. Blocks for as long.

    Who is not allowed to connect cannot know, and takes it for granted.

    :param tls: What listens there expects a handshake, and complains about a connection without one.
    """
    family, name = address
    with contextlib.suppress(OSError), socket.socket(family) as asking:
        asking.settimeout(seconds)
        try:
            asking.connect(name)
        except PermissionError:
            return True
        if tls:
            with greeting().wrap_socket(asking):
                return True
        asking.shutdown(socket.SHUT_WR)
        return not asking.recv(1)
    return False


def greeting() -> ssl.SSLContext:
    """For a handshake with ourselves: nothing is said in it, so it does not matter who answers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
