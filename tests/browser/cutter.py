"""A proxy that cuts connections in the middle of a response, at a byte of the test's choice."""

from __future__ import annotations

import contextlib
import enum
import http.client
import io
import socket
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import parse_qs
from urllib.parse import urlsplit

from tests.browser.scripted import DEADLINE
from tests.network import Listener
from tests.network import reset_on_close


class Cut(enum.Enum):
    """How a response ends before its time."""

    FIN = "the connection is closed, as a rule in the middle of a chunk"
    RST = "the connection is reset"
    NO_LAST_CHUNK = "the connection is closed between two chunks"
    CLEAN = "the body is ended properly, as some proxies do"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request on its way through."""

    method: str
    path: str
    query: dict[str, str]
    headers: http.client.HTTPMessage
    raw: bytes


Plan = Callable[[Asked, int], tuple[int, Cut] | None]
"""Told of a request and the size of the head of its streamed response. Says how many bytes of the
response, head included, may pass, and how it then ends; ``None`` lets it pass whole."""


class Cutter:
    """Forwards from a free port of 127.0.0.1 to another, until ``close``.

    The connections of clients are kept open between requests. One that closes in the middle of a
    response is noticed at the next write to it.
    """

    def __init__(self, port: int, plan: Plan) -> None:
        self._address = ("127.0.0.1", port)
        self._plan = plan
        self._listener = Listener(self._serve)
        self.url = f"http://127.0.0.1:{self._listener.port}"

    def close(self) -> None:
        self._listener.close()

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(DEADLINE)
        # Either side may go away at any point, which is what this is about.
        with client, client.makefile("rb") as requests, contextlib.suppress(OSError):
            while (asked := read_request(requests)) and self._forward(client, asked):
                pass

    def _forward(self, client: socket.socket, asked: Asked) -> bool:
        """Ask the server and hand back what it answers.

        :returns: Whether the connection is still good.
        """
        with socket.create_connection(self._address, DEADLINE) as server:
            server.sendall(asked.raw)
            with server.makefile("rb") as response:
                head = read_head(response)
                chunked = b"transfer-encoding: chunked" in head.lower()
                cut = self._plan(asked, len(head)) if chunked else None
                left, how = cut or (-1, Cut.FIN)
                for piece in pieces(response, head):
                    if cut and len(piece) > left:
                        finish(client, piece, left, how)
                        return False
                    client.sendall(piece)
                    left -= len(piece)
        return b"connection: close" not in head.lower()


def finish(client: socket.socket, piece: bytes, size: int, how: Cut) -> None:
    """Send the first bytes of a piece, and the end."""
    if how is Cut.FIN or how is Cut.RST:
        client.sendall(piece[:size])
    else:
        client.sendall(shortened(piece, size))
    if how is Cut.RST:
        reset_on_close(client)
    if how is Cut.CLEAN:
        client.sendall(b"0\r\n\r\n")


def shortened(piece: bytes, size: int) -> bytes:
    """A whole chunk with the first bytes of this one. A head stays whole."""
    if piece.startswith(b"HTTP/"):
        return piece
    data = piece.partition(b"\r\n")[2][:-2][:size]
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def read_request(stream: t.BinaryIO) -> Asked | None:
    """``None`` where the client asks nothing more."""
    head = read_head(stream)
    if not head:
        return None
    first, _, rest = head.partition(b"\r\n")
    method, target, _ = first.decode("ascii").split(" ")
    headers = http.client.parse_headers(io.BytesIO(rest))
    body = stream.read(int(headers.get("Content-Length", 0)))
    parts = urlsplit(target)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    return Asked(method, parts.path, query, headers, head + body)


def read_head(stream: t.BinaryIO) -> bytes:
    head = b""
    while line := stream.readline():
        head += line
        if line == b"\r\n":
            break
    return head


def pieces(stream: t.BinaryIO, head: bytes) -> Iterator[bytes]:
    """A response: its head, then each chunk, or all of the body."""
    yield head
    headers = http.client.parse_headers(io.BytesIO(head.partition(b"\r\n")[2]))
    if headers.get("Transfer-Encoding") != "chunked":
        yield stream.read(int(headers.get("Content-Length", 0)))
        return
    while line := stream.readline():
        yield line + stream.read(int(line, 16) + 2)
        if line == b"0\r\n":
            return
