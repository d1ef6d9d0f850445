"""A body that arrives slowly holds nothing but its own connection, and that for a limited time."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
import typing as t
from collections.abc import Iterator

import pytest

from tests.server.conftest import Serve
from tests.server.servers import DEADLINE
from tests.server.servers import Server
from tests.server.wire import Stream
from tests.server.wire import call

pytestmark = pytest.mark.server

SECONDS = 0.5

HALVES = {
    "length": b"Content-Length: 100\r\n\r\n" + b'{"prompt": ',
    "chunks": b"Transfer-Encoding: chunked\r\n\r\n" + b'b\r\n{"prompt": \r\n',
    "no byte": b"Content-Length: 100\r\n\r\n",
    "form": b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nprompt=",
}


class Half:
    """A request whose body does not come."""

    def __init__(self, server: Server, rest: bytes = HALVES["length"], path: str = "say") -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port), DEADLINE)
        self._socket.sendall(
            f"POST /ai/{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n".encode() + rest
        )

    def trickle(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.sendall(b" ")

    def finish(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def answer(self) -> bytes:
        """All that the server sends until it closes the connection."""
        data = b""
        with self._socket, contextlib.suppress(ConnectionError):
            while more := self._socket.recv(65536):
                data += more
        return data

    def close(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def many(server: Server, count: int) -> Iterator[list[Half]]:
    halves: list[Half] = []
    try:
        for _ in range(count):
            halves.append(Half(server))
        yield halves
    finally:
        for half in halves:
            half.close()


def test_a_body_that_does_not_come_in_time_is_refused(serve: Serve, kind: str) -> None:
    server = serve(kind, APP_AISTREAM_BODY_SECONDS=SECONDS)
    say(server)  # It has started.
    begun = time.monotonic()
    halves = [Half(server, half, "say/html") for half in HALVES.values()]
    trickling = Half(server)
    while time.monotonic() < begun + 2 * SECONDS:
        trickling.trickle()
        time.sleep(0.05)
    for answer in [half.answer() for half in (*halves, trickling)]:
        assert b" 408 " in answer.partition(b"\r\n")[0]
        assert b"did not arrive within 0.5 seconds" in answer
    assert "Traceback" not in server.output()


def test_threads_of_slow_bodies_are_free_after_the_limit(serve: Serve) -> None:
    server = serve("gthread", options=("--threads", "4"), APP_AISTREAM_BODY_SECONDS=SECONDS)
    with many(server, 20):
        say(server)


@pytest.mark.parametrize(
    "count", [60, pytest.param(1000, marks=[pytest.mark.nightly, pytest.mark.load])]
)
def test_slow_bodies_do_not_take_all_places_of_a_gevent_worker(serve: Serve, count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    server = serve("gevent", options=("--worker-connections", str(count)))
    say(server)  # It has started.
    with many(server, count) as halves:
        assert call(server.url, "/ai/health")[0] == 200  # After the requests before it.
        for _ in range(5):
            begun = time.monotonic()
            assert call(server.url, "/ai/health")[0] == 200
            assert time.monotonic() - begun < 1.0
        say(server)
        assert b" 408 " in halves[0].answer().partition(b"\r\n")[0]


MALFORMED = {
    "a part of JSON": HALVES["length"],
    "a part of a form": HALVES["form"],
    "a chunk without a size": b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a chunk that is longer": b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}xx\r\n0\r\n\r\n",
    "a bad trailer": b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\na\nb\r\n\r\n",
}


@pytest.mark.parametrize("kind", ["gevent", "gthread"])
def test_a_malformed_body_is_the_clients_fault(serve: Serve, kind: str) -> None:
    server = serve(kind, APP_AISTREAM_BODY_SECONDS=SECONDS)
    for what, rest in MALFORMED.items():
        half = Half(server, rest, "say/html")
        half.finish()
        assert b" 400 " in half.answer().partition(b"\r\n")[0], what
    assert "Traceback" not in server.output()


def say(server: Server) -> None:
    body: dict[str, t.Any] = {"prompt": "Hi", "texts": ["a", "b"]}
    assert Stream(server.url, "/ai/say", body).rest()[0] == "ab"
