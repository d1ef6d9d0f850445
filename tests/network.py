"""A TCP listener, and a proxy that cuts connections on request."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable

from tests.server.servers import wait_for


class Listener:
    """Listens on a free port of 127.0.0.1 and serves each connection in its own thread, until ``close``."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # close() alone does not unblock accept(), and its thread would never end.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()


class Proxy:
    """Forwards TCP connections to ``port`` and resets them on request, as a bad network does.

    While ``blocked`` is set, new connections are reset immediately.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._sockets: set[socket.socket] = set()
        self._blackholed: set[socket.socket] = set()
        self._listener = Listener(self._forward)
        self.port = self._listener.port
        self.url = f"http://127.0.0.1:{self.port}/"
        self.blocked = threading.Event()
        self.cuts = 0

    def cut(self) -> None:
        """Reset all open connections."""
        self.cuts += 1
        for one in list(self._sockets):
            reset(one)

    def swallow(self, port: int) -> None:
        """Stop forwarding data from the target to the connection with this local port."""
        self._blackholed |= {one for one in self._sockets if one.getsockname()[1] == port}

    def close(self) -> None:
        self._listener.close()
        self.cut()
        wait_for(lambda: not self._sockets, "all connections to be closed")

    def _forward(self, client: socket.socket) -> None:
        if self.blocked.is_set():
            reset(client)
            return client.close()
        with client, socket.create_connection(("127.0.0.1", self._target)) as server:
            both = {client, server}
            self._sockets |= both
            back = threading.Thread(target=self._copy, args=(server, client), daemon=True)
            back.start()
            self._copy(client, server)
            back.join()
            self._sockets -= both
            self._blackholed -= both

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if source not in self._blackholed:
                    sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


def reset(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        reset_on_close(one)
        one.shutdown(socket.SHUT_RDWR)  # Unblocks its reader.


def reset_on_close(one: socket.socket) -> None:
    """Make close() send RST instead of FIN."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
