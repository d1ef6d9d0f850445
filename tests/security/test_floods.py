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
from pathlib import Path

import pytest

from tests.security.baseline import HEALTH_SECONDS
from tests.security.baseline import Attacked
from tests.server.servers import DEADLINE
from tests.server.servers import Server
from tests.server.servers import is_busy
from tests.server.wire import Stream
from tests.server.wire import call

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
    with attacked.attack(requests=count // 3):
        for number in range(count):
            with socket.create_connection(("127.0.0.1", attacked.server.port), DEADLINE) as here:
                here.sendall(opening[number % 3])
                if number % 2:  # Without a goodbye.
                    here.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@sizes(200, 3000)
def test_a_flood_of_starts_is_refused_above_a_limit(attacked: Attacked, count: int) -> None:
    with attacked.attack(requests=count), connections(attacked) as connect:
        opened = [connect(request("/ai/slow", PROMPT)) for _ in range(count)]
        statuses = Counter(here.recv(12)[9:12] for here in opened)
    assert statuses.keys() <= {b"200", b"429"}, statuses


OF_OTHERS: list[tuple[str, dict[str, str] | None]] = [
    ("/ai/health", None),
    ("/ai/runs/{run}", None),
    ("/ai/runs/{run}/stop", {}),
]


START = request("/ai/idle", PROMPT)
READ = b"GET /ai/runs/%s/events HTTP/1.1\r\nHost: a\r\n\r\n"
HALF = request("/ai/idle", PROMPT[:8], length=len(PROMPT))


MIXED = (START, READ, READ, HALF)
CROWDS = [
    pytest.param("gevent", "--worker-connections", 40, MIXED, id="gevent"),
    pytest.param("gthread", "--threads", 8, MIXED, id="gthread", marks=pytest.mark.nightly),
    *(
        pytest.param(
            "gevent", "--worker-connections", 1000, attack, id=name, marks=pytest.mark.nightly
        )
        for name, attack in {"starts": (START,), "reads of one run": (READ,), "all": MIXED}.items()
    ),
]


@pytest.mark.parametrize(("kind", "option", "places", "attack"), CROWDS)
def test_one_client_with_more_streams_than_places_leaves_others_room(
    tmp_path: Path, kind: str, option: str, places: int, attack: tuple[bytes, ...]
) -> None:
    """``/health``, Stop and reading a run answer at once; the other clients' streams are refused in a form that passes."""
    server = Server(
        kind,
        tmp_path / "facts.jsonl",
        app="tests.security.app:create_app()",
        options=(option, str(places)),
        APP_AISTREAM_MAX_ANONYMOUS_RUNS=None,
    )
    attacked = Attacked(server)
    server.wait_ready()
    try:
        attacked.settle()
        with connections(attacked) as connect:
            own = connect(request("/ai/idle", PROMPT))
            run = run_of(own)
            for number in range(places * 3 // 2):
                connect(attack[number % len(attack)].replace(b"%s", run.encode()))
            while (refused := Stream(server.url, "/ai/idle", {"prompt": "Hi"})).status == 200:
                pass  # It takes one of the last places.
            assert refused.status == 503
            # Under gevent, a connection that is kept alive would take a place, too.
            kept = "close" if kind == "gevent" else "keep-alive"
            assert refused.response.headers["Connection"] == kept
            took = []
            for path, body in OF_OTHERS * 3:
                begun = time.monotonic()
                assert call(server.url, path.format(run=run), body)[0] == 200
                took.append(time.monotonic() - begun)
            assert is_busy() or max(took) <= HEALTH_SECONDS, took
        assert "Traceback" not in server.output()
    finally:
        server.hurry()
        server.stop()


def run_of(stream: socket.socket) -> str:
    data = b""
    while b"\r\n\r\n" not in data:
        data += stream.recv(4096)
    return data.partition(b"AIStream-Run: ")[2].partition(b"\r\n")[0].decode()
