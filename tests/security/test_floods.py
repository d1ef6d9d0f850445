"""Clients that hold, waste and drop connections: other clients are served meanwhile, and nothing stays behind.

Each attack has a small form for every change and one of the size in its name that `make nightly` runs.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from collections.abc import Iterator

import pytest

from tests.security.baseline import Attacked
from tests.server.servers import DEADLINE

pytestmark = [pytest.mark.server, pytest.mark.timeout(240)]


def sizes(day: int, night: int) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("count", [day, pytest.param(night, marks=pytest.mark.nightly)])


@contextlib.contextmanager
def connections(attacked: Attacked) -> Iterator[Callable[[bytes], socket.socket]]:
    """Open connections and send some bytes on each; all are closed at the end."""
    with contextlib.ExitStack() as opened:

        def connect(data: bytes) -> socket.socket:
            here = socket.create_connection(("127.0.0.1", attacked.server.port), DEADLINE)
            opened.enter_context(here)
            here.sendall(data)
            return here

        yield connect


def request(path: str, body: bytes = b"", length: int | None = None, method: str = "POST") -> bytes:
    size = len(body) if length is None else length
    head = f"{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
    return head.encode() + body


PROMPT = b'{"prompt": "Hi"}'


@sizes(100, 1000)
def test_half_sent_bodies_hold_nothing_but_their_connections(
    attacked: Attacked, count: int
) -> None:
    with attacked.attack(), connections(attacked) as connect:
        half = request("/ai/chat", PROMPT[:8], length=len(PROMPT))
        slow = [connect(half) for _ in range(count)]
        assert {here.recv(12)[9:12] for here in slow} == {b"408"}


@sizes(100, 1000)
def test_half_sent_headers_hold_nothing_but_their_connections(
    attacked: Attacked, count: int
) -> None:
    with attacked.attack(), connections(attacked) as connect:
        for _ in range(count):
            connect(b"POST /ai/chat HTTP/1.1\r\nHost: a\r\nX-Slow: ")
        time.sleep(1)


@sizes(50, 1000)
def test_clients_that_read_nothing_are_dropped(attacked: Attacked, count: int) -> None:
    with attacked.attack(), connections(attacked) as connect:
        for number in range(count):
            here = connect(request(f"/ai/flood?prompt={number}", method="GET"))
            here.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        attacked.wait_until(lambda here: here["connections"] > 0)
        assert attacked.wait_until(lambda here: here["connections"] == 0)["connections"] == 0


@sizes(300, 10_000)
def test_connections_opened_and_dropped_leave_nothing(attacked: Attacked, count: int) -> None:
    """A third says nothing, a third begins a request, a third starts a run and hangs up."""
    opening = (b"", b"GET /ai/ch", request("/ai/slow", PROMPT))
    with attacked.attack():
        for number in range(count):
            with socket.create_connection(("127.0.0.1", attacked.server.port), DEADLINE) as here:
                here.sendall(opening[number % 3])
                if number % 2:  # Without a goodbye.
                    here.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@sizes(200, 3000)
def test_a_flood_of_starts_is_refused_above_a_limit(attacked: Attacked, count: int) -> None:
    with attacked.attack(), connections(attacked) as connect:
        opened = [connect(request("/ai/slow", PROMPT)) for _ in range(count)]
        statuses = Counter(here.recv(12)[9:12] for here in opened)
    assert statuses.keys() <= {b"200", b"429"}, statuses
