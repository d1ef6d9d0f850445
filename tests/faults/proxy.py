"""The network between readers and the application: it can cut, reset, stall, half-close, delay and lose.

What it does to one connection it does to all that are open at that moment; later ones are good again.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import typing as t

from tests.faults.client import Net


class Line:
    """One connection, in two halves."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.flows = asyncio.Event()
        self.flows.set()
        self.lost = False

    def close(self) -> None:
        self.client.close()
        self.server.close()

    def lose(self) -> None:
        self.lost = True
        self.flows.clear()

    def abort(self) -> None:
        for writer in (self.client, self.server):
            # Linger of zero seconds: what follows is a reset.
            with contextlib.suppress(OSError):
                connection: t.Any = writer.get_extra_info("socket")
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()


class Proxy:
    """Forwards from a free port of 127.0.0.1.

    :param port: Where to.
    :ivar delay: Seconds by which everything is late.
    """

    def __init__(self, net: Net, port: int) -> None:
        self.delay = 0.0
        self._net = net
        self._target = port
        self._lines: set[Line] = set()
        self._server = net.call(asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=512))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Both sides see the connection closed."""
        self._each(Line.close)

    def reset(self) -> None:
        self._each(Line.abort)

    def half_close(self) -> None:
        """The application sees that nothing more will be asked."""
        self._each(lambda line: line.server.write_eof())

    def stall(self) -> None:
        """Nothing passes until ``flow``, and nothing is read either."""
        self._each(lambda line: line.flows.clear())

    def flow(self) -> None:
        self._each(lambda line: line.flows.set())

    def lose(self) -> None:
        """Nothing will ever pass again, and nobody is told."""
        self._each(Line.lose)

    def close(self) -> None:
        self._net.call(self._close())

    @property
    def open(self) -> int:
        return sum(not line.lost for line in self._lines)

    def _each(self, what: t.Callable[[Line], object]) -> None:
        async def do() -> None:
            for line in [line for line in self._lines if not line.lost]:
                with contextlib.suppress(OSError, RuntimeError):  # It has just gone by itself.
                    what(line)

        self._net.call(do())

    async def _close(self) -> None:
        self._server.close()
        for line in self._lines:
            line.abort()

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            back, server = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            client.transport.abort()
            return
        line = Line(client, server)
        self._lines.add(line)
        ways = (self._pass(line, reader, server), self._pass(line, back, client))
        tasks = [asyncio.ensure_future(way) for way in ways]
        try:
            # The end of one direction is the end of both, as a client that has left reads no more.
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if any(task.done() and not task.cancelled() and task.exception() for task in tasks):
                line.abort()
        finally:
            for task in tasks:
                task.cancel()
            line.close()
            self._lines.discard(line)

    async def _pass(
        self, line: Line, source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        while True:
            await line.flows.wait()
            data = await source.read(1 << 16)
            if not data:
                return
            if self.delay:
                await asyncio.sleep(self.delay)
            await line.flows.wait()
            sink.write(data)
            await sink.drain()
