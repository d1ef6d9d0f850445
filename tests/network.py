"""What stands on the network between the tests' browsers and servers: a listener, and a proxy that cuts."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable

from tests.server.servers import wait_for


class Listener:
    """Serves each connection to a free port of 127.0.0.1 in a thread of its own, until ``close``."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # Closing alone would leave accept() blocked, and its thread there for ever.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()


class Proxy:
    """Passes TCP on to ``port`` until told to cut: what a bad network does.

    Connections made while ``blocked`` is set are cut at once.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._sockets: set[socket.socket] = set()
        self._swallowed: set[socket.socket] = set()
        self._listener = Listener(self._pass)
        self.port = self._listener.port
        self.url = f"http://127.0.0.1:{self.port}/"
        self.blocked = threading.Event()
        self.cuts = 0

    def cut(self) -> None:
        """Reset every connection that is open."""
        self.cuts += 1
        for one in list(self._sockets):
            reset(one)

    def swallow(self, port: int) -> None:
        """Pass on nothing any more of what the target says to the one who asks it from this port."""
        self._swallowed |= {one for one in self._sockets if one.getsockname()[1] == port}

    def close(self) -> None:
        self._listener.close()
        self.cut()
        wait_for(lambda: not self._sockets, "all connections to be closed")

    def _pass(self, client: socket.socket) -> None:
        if self.blocked.is_set():
            reset(client)
            return client.close()
        with client, socket.create_connection(("127.0.0.1", self._target)) as server:
            both = {client, server}
            self._sockets |= both
            back = threading.Thread(target=self._pass_on, args=(server, client), daemon=True)
            back.start()
            self._pass_on(client, server)
            back.join()
            self._sockets -= both
            self._swallowed -= both

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if source not in self._swallowed:
                    sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


def reset(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        linger_not(one)
        one.shutdown(socket.SHUT_RDWR)  # Wakes who reads it.


def linger_not(one: socket.socket) -> None:
    """Closing it sends RST from now on, instead of FIN."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
