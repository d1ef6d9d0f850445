"""A strict client: one connection, bytes as they come, frames by the grammar."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import typing as t
from collections.abc import Iterator

from flask_aistream.sse.decode import Decoder
from flask_aistream.sse.frame import Frame
from tests.server.servers import DEADLINE

OPEN: list[Stream] = []
"""Every stream of the test that runs now; they are closed after it."""


class Client:
    """A request whose response is not read."""

    def __init__(self, url: str, path: str, body: t.Any) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self._connection = http.client.HTTPConnection(host, int(port), timeout=DEADLINE)
        self._connection.request("POST", path, json.dumps(body).encode())

    def close(self) -> None:
        self._connection.close()


class Stream:
    """One response being read."""

    def __init__(
        self, url: str, path: str, body: t.Any = None, *, receives: int = 0, **headers: str
    ) -> None:
        """
        :param receives: Size of the receive buffer; 0 for the kernel's.
        """
        host, _, port = url.removeprefix("http://").partition(":")
        self._connection = http.client.HTTPConnection(host, int(port), timeout=DEADLINE)
        if receives:
            self._connection.sock = socket.socket()
            self._connection.sock.settimeout(DEADLINE)
            self._connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
            self._connection.sock.connect((host, int(port)))
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        data = None if body is None else json.dumps(body).encode()
        self._connection.request("GET" if body is None else "POST", path, data, sent)
        # The response closes the connection's own socket object once it is read.
        self._socket = t.cast(socket.socket, self._connection.sock)
        self.response = self._connection.getresponse()
        self.status = self.response.status
        self.run = self.response.headers.get("AIStream-Run", "")
        self.raw = b""
        self.cursor = ""
        self.decoder = Decoder()
        OPEN.append(self)

    def frames(self) -> Iterator[Frame]:
        """Every frame until the body ends."""
        while data := self.response.read1():
            self.raw += data
            for frame in self.decoder.feed(data):
                self.cursor = frame.id or self.cursor
                yield frame

    def until(self, text: str) -> str:
        """Read until the text so far ends with ``text``."""
        read = ""
        for frame in self.frames():
            read += text_of(frame)
            if read.endswith(text):
                return read
        raise AssertionError(f"The stream ended with {read[-100:]!r} before {text!r} came.")

    def rest(self) -> tuple[str, list[Frame]]:
        """The text and all frames until the body ends."""
        frames = list(self.frames())
        return "".join(map(text_of, frames)), frames

    def json(self) -> t.Any:
        return json.loads(self.response.read())

    def leave(self) -> None:
        """Close the connection, as a browser does whose page is closed."""
        self._connection.close()
        self.response.close()

    def reset(self) -> None:
        """Cut the connection without a goodbye."""
        linger = struct.pack("ii", 1, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.leave()


def text_of(frame: Frame) -> str:
    if frame.event is not None or frame.data is None:
        return ""
    return t.cast(str, json.loads(frame.data).get("text", ""))


def end_of(frames: list[Frame]) -> str | None:
    """The reason of the terminal event, if the last frame is one."""
    data = frames[-1].data if frames else None
    value = json.loads(data) if data else {}
    return value.get("reason") if value.get("action") == "terminate" else None


def call(url: str, path: str, body: t.Any = None, **headers: str) -> tuple[int, t.Any]:
    """Status and JSON of one request."""
    stream = Stream(url, path, body, receives=0, **headers)
    data = stream.response.read()
    stream.leave()
    return stream.status, json.loads(data) if data else None
