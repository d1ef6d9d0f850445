"""The tutorial page as a program: ``EventSource``, which reconnects, and the page's own three lines."""

from __future__ import annotations

import asyncio
import json
import struct
from collections import Counter
from collections.abc import AsyncIterator
from socket import SO_LINGER
from socket import SOL_SOCKET

from flask_aistream.sse.decode import Decoder

EVENTS_BEFORE_CUT = 3


class Visitor:
    """A page without cookies, at the address of a whole company.

    :param cuts: How often its connection is cut, each time after a few events.
    :ivar text: What the page shows.
    :ivar statuses: Of all responses.
    :ivar closed: The page has closed its source, as it does at the end of an answer.
    """

    ADDRESS = "93.184.215.14"

    def __init__(self, port: int, cuts: int) -> None:
        self._port = port
        self._cuts = cuts
        self._last_event_id = ""
        self._retry = 3.0
        self.text = ""
        self.statuses: Counter[int] = Counter()
        self.closed = False

    async def visit(self) -> Visitor:
        """Read until the page closes its source, or ``EventSource`` gives up."""
        while await self._connect() and not self.closed:
            await asyncio.sleep(self._retry)
        return self

    async def _connect(self) -> bool:
        """One connection; False if ``EventSource`` will not reconnect."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(self._request().encode())
            status = int((await reader.readline()).split()[1])
            self.statuses[status] += 1
            if status != 200:
                return False
            while (await reader.readline()).strip():
                pass
            await self._read(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
        return True

    def _request(self) -> str:
        headers = {
            "Host": f"127.0.0.1:{self._port}",
            "Accept": "text/event-stream",
            "Cache-Control": "no-cache",
            "Origin": "null",
            "User-Agent": "Mozilla/5.0",
            "X-Forwarded-For": self.ADDRESS,
        }
        if self._last_event_id:
            headers["Last-Event-ID"] = self._last_event_id
        lines = [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join(["GET /stream HTTP/1.1", *lines, "", ""])

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder, read = Decoder(), 0
        async for data in chunks(reader):
            for frame in decoder.feed(data):
                self._last_event_id = frame.id or self._last_event_id
                if frame.event is None and frame.data:
                    self._on_message(frame.data)
                    read += 1
                if self._cuts and read == EVENTS_BEFORE_CUT:
                    self._cuts -= 1
                    cut(writer)
                    return
            if decoder.retry is not None:
                self._retry = decoder.retry / 1000
            if self.closed:
                return

    def _on_message(self, data: str) -> None:
        payload = json.loads(data)
        if payload.get("action") == "terminate":
            self.closed = True
        else:
            self.text += payload["text"]


async def chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """A body in chunks."""
    while size := int(await reader.readline(), 16):
        data = await reader.readexactly(size + 2)
        yield data[:-2]


def cut(writer: asyncio.StreamWriter) -> None:
    """Reset the connection, as a bad network does."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, linger)
    writer.transport.abort()
