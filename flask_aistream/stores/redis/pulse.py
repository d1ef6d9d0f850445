"""The heartbeat of a process, sent from an OS thread: a busy hub does not delay it.

Under gevent every command of the Redis client waits for the hub, and so does a heartbeat while a provider
computes. The thread therefore uses nothing that gevent patches: it writes one command to the socket of a
connection that the client has opened for it (with its TLS, password and database), through the C types
below ``socket`` and ``ssl``.
"""

from __future__ import annotations

import _queue
import _socket
import os
import ssl
import typing as t

from flask_aistream.stores.shared.engine import BEAT_SECONDS
from flask_aistream.timing.concurrency import Spawner

REPLY_SECONDS = 1.0


class Pulse:
    """
    :param key: Set with every heartbeat.
    :param milliseconds: Until the key expires.
    """

    def __init__(self, process: Spawner, key: str, milliseconds: int) -> None:
        self._process = process
        self._key = key
        self._milliseconds = milliseconds
        self._beating = False
        self._closing: t.Any = _queue.SimpleQueue()

    def ensure(self, client: t.Any) -> None:
        """Start the thread, unless it runs: it ends with its connection.

        :raises redis.RedisError: There is no connection to be had.
        """
        if self._beating:
            return
        connection = connect(client, self._key)
        line = line_of(connection)
        if line is None:
            return
        command = b"".join(connection.pack_command("SET", self._key, 1, "PX", self._milliseconds))
        self._beating = True
        self._process.spawn_thread(lambda: self._beat(connection, line, command))

    def close(self) -> None:
        self._closing.put(None)

    def _beat(self, connection: t.Any, line: Line, command: bytes) -> None:
        try:
            while line.exchange(command) and not self._is_closing():
                pass
        finally:
            self._beating = False
            line.close()
            # Closing the client's own socket is for the thread that made it.
            self._process.call_soon_threadsafe(connection.disconnect)

    def _is_closing(self) -> bool:
        try:
            self._closing.get(timeout=BEAT_SECONDS)
        except _queue.Empty:
            return False
        return True


class Line(t.Protocol):
    """A connection, as an OS thread may use it."""

    def exchange(self, command: bytes) -> bool:
        """Send a command.

        :returns: Whether the connection is still good.
        """

    def close(self) -> None: ...


class PlainLine:
    def __init__(self, descriptor: int) -> None:
        self._socket = _socket.socket(fileno=os.dup(descriptor))
        self._socket.settimeout(REPLY_SECONDS)

    def exchange(self, command: bytes) -> bool:
        try:
            self._socket.sendall(command)
            return self._socket.recv(512).startswith(b"+")
        except OSError:
            return False

    def close(self) -> None:
        self._socket.close()


class TlsLine:
    """
    :param tls: The C object below the connection's TLS socket.
    """

    def __init__(self, tls: t.Any) -> None:
        self._tls = tls

    def exchange(self, command: bytes) -> bool:
        try:
            self._tls.write(command)
            # The reply to the last command: where the socket does not block, this one's has not arrived yet.
            return not self._tls.read(512).startswith(b"-")
        except ssl.SSLWantReadError:
            return True
        except OSError:
            return False

    def close(self) -> None: ...


def connect(client: t.Any, key: str) -> t.Any:
    """A connection of its own, to the server that has the key."""
    if hasattr(client, "get_node_from_key"):
        client = client.get_redis_connection(client.get_node_from_key(key))
    connection = client.connection_pool.make_connection()
    connection.connect()
    return connection


def line_of(connection: t.Any) -> Line | None:
    """``None``: a client whose connections are made in another way; its heartbeat waits for the hub."""
    socket = getattr(connection, "_sock", None)
    if socket is None:
        return None
    tls = getattr(socket, "_sslobj", None)
    return TlsLine(tls) if tls is not None else PlainLine(socket.fileno())
