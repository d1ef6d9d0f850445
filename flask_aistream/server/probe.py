"""Whether a process accepts connections at an address, found out without sending a request.

The probe connects and shuts down its sending side. A server that accepts it reads the end and closes the
connection, and logs nothing; until one does, the connection waits in the kernel's queue.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import typing as t

from flask_aistream.server.sockets import descriptor_of

Address = tuple[int, t.Any]
"""Family and name of a listening socket. Connecting to 0.0.0.0 reaches this host."""


def addresses_of(listeners: t.Iterable[t.Any]) -> list[Address]:
    """The addresses of open listening sockets."""
    return [(it.family, it.getsockname()) for it in listeners if descriptor_of(it) is not None]


def answers(address: Address, seconds: float, *, tls: bool) -> bool:
    """Whether a new connection is accepted and closed within so many seconds. Blocks for as long.

    If connecting is forbidden, assume a successor answers.

    :param tls: The server expects a handshake, and would log an error without one.
    """
    family, name = address
    with contextlib.suppress(OSError), socket.socket(family) as probe:
        probe.settimeout(seconds)
        try:
            probe.connect(name)
        except PermissionError:
            return True
        if tls:
            with unverified_context().wrap_socket(probe):
                return True
        probe.shutdown(socket.SHUT_WR)
        return not probe.recv(1)
    return False


def unverified_context() -> ssl.SSLContext:
    """For a handshake with this very host, in which nothing is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
