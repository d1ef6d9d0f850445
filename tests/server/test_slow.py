"""Clients that stop reading are cut off, and delay no other."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import time
import typing as t
from pathlib import Path

import pytest

from flask_aistream.sse.decode import Decoder
from flask_aistream.sse.frame import Frame
from tests.certificate import make_certificate
from tests.server.conftest import Serve
from tests.server.servers import DEADLINE
from tests.server.servers import Server
from tests.server.servers import wait_for
from tests.server.wire import Stream
from tests.server.wire import end_of
from tests.server.wire import text_of

pytestmark = pytest.mark.server

SEND_SECONDS = 1.0
TOKENS = 50_000
MUCH = f"/ai/count?prompt=x&n={TOKENS}"
"""About 2 MB: more than any buffer takes."""

GROWTH_BYTES = 64 * 1024 * 1024


class Raw:
    """A request on a socket, whose answer is read when the test wants it."""

    def __init__(self, connection: socket.socket, path: str, cursor: str = "") -> None:
        self._socket = connection
        self._socket.settimeout(DEADLINE)
        head = f"GET {path} HTTP/1.0\r\nLast-Event-ID: {cursor}\r\n\r\n"
        self._socket.sendall(head.encode())
        self._decoder = Decoder()
        self._heading = b""

    def begin(self) -> list[Frame]:
        """Read until there is an event."""
        while b"\r\n\r\n" not in self._heading:
            self._heading += self._socket.recv(1024)
        body = self._heading.partition(b"\r\n\r\n")[2]
        return self._decoder.feed(body) or self._more()

    def rest(self) -> list[Frame]:
        """Read until there is nothing any more."""
        frames: list[Frame] = []
        try:
            while more := self._more():
                frames += more
        except (ConnectionError, ssl.SSLError):
            pass
        self._socket.close()
        return frames

    def _more(self) -> list[Frame]:
        while data := self._socket.recv(65536):
            if frames := self._decoder.feed(data):
                return frames
        return []


class Door:
    """One of the ways into a server."""

    def __init__(self, way: str, folder: Path) -> None:
        self.way = way
        self._folder = folder
        self._tls: tuple[str, ...] = ()
        if way == "tls":
            cert, key = make_certificate(folder)
            self._tls = ("--certfile", cert, "--keyfile", key)

    def options(self, kind: str) -> tuple[str, ...]:
        """What makes gunicorn have it."""
        if self.way == "unix":
            return ("-b", f"unix:{self._file(kind)}")
        if self.way == "tls":
            return (
                "--certfile",
                f"{self._folder}/cert.pem",
                "--keyfile",
                f"{self._folder}/key.pem",
            )
        return ()

    def connect(self, server: Server, *, narrow: bool = False) -> socket.socket:
        """A connection; a ``narrow`` one holds little that was not read."""
        family, at = self._address(server)
        connection = socket.socket(family)
        if narrow:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(at)
        if self.way != "tls":
            return connection
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context.wrap_socket(connection)

    def _address(self, server: Server) -> tuple[socket.AddressFamily, t.Any]:
        if self.way != "unix":
            return socket.AF_INET, ("127.0.0.1", server.port)
        file = self._file(server.kind)
        # It listens at its port first.
        wait_for(lambda: is_listening(file), "the server to listen there too")
        return socket.AF_UNIX, file

    def _file(self, kind: str) -> str:
        return f"{self._folder}/{kind}"


def is_listening(file: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(file) == 0


@pytest.fixture(scope="module")
def door(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Door:
    return Door(request.param, tmp_path_factory.mktemp("door"))


@pytest.mark.parametrize(
    ("door", "kind"),
    [
        ("tcp", "gevent"),
        ("tls", "gevent"),
        ("unix", "gthread"),
        pytest.param("unix", "gevent", marks=pytest.mark.nightly),
        pytest.param("tcp", "gthread", marks=pytest.mark.nightly),
        pytest.param("tls", "gthread", marks=pytest.mark.nightly),
    ],
    indirect=["door"],
)
def test_a_client_that_stops_reading_is_cut_off_and_may_resume(
    serve: Serve, door: Door, kind: str
) -> None:
    server = serve(kind, options=door.options(kind), APP_AISTREAM_SEND_SECONDS=SEND_SECONDS)
    sleeper = Raw(door.connect(server, narrow=True), MUCH)
    frames = sleeper.begin()
    stopped = time.monotonic()
    wait_for(lambda: open_streams(door, server) == 0, "the end of the connection")
    assert time.monotonic() - stopped > 0.9 * SEND_SECONDS
    frames += sleeper.rest()
    assert end_of(frames) is None
    while end_of(frames) is None:  # On a busy machine we ourselves may be too slow once more.
        back = Raw(door.connect(server), MUCH, frames[-1].id or "")
        frames += [*back.begin(), *back.rest()]
    assert [number_of(frame) for frame in frames] == list(range(TOKENS + 2))
    assert end_of(frames) == "stop"
    assert "Socket error" not in server.output()


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux has such an option")
@pytest.mark.parametrize("kind", ["gevent", "gthread"])
def test_a_client_that_stops_reading_before_a_silence_is_cut_off_too(
    serve: Serve, kind: str
) -> None:
    """Nothing is being written then: bytes in the kernel's buffer are not acknowledged."""
    server = serve(kind, APP_AISTREAM_SEND_SECONDS=SEND_SECONDS)
    door = Door("tcp", Path())
    sleeper = Raw(door.connect(server, narrow=True), "/ai/lump?prompt=x&n=90000")
    sleeper.begin()
    wait_for(lambda: open_streams(door, server) == 0, "the end of the connection")
    assert end_of(sleeper.rest()) is None
    assert "Socket error" not in server.output()


@pytest.mark.load
@pytest.mark.nightly
def test_fifty_clients_that_stop_reading_cost_little_and_delay_no_other(serve: Serve) -> None:
    server = serve("gevent", APP_AISTREAM_SEND_SECONDS=2, APP_AISTREAM_LOG_EVENTS=50_000)
    door = Door("tcp", Path())
    paced = Stream(server.url, "/ai/count", {"prompt": "?", "n": 300, "pause": 0.01})
    before = most_memory(server, paced.run)
    loud = Stream(server.url, "/ai/count", {"prompt": "?", "n": 300_000})
    with contextlib.ExitStack() as asleep:
        for _ in range(50):
            connection = asleep.enter_context(door.connect(server, narrow=True))
            Raw(connection, f"/ai/runs/{loud.run}/events").begin()
        unharmed(paced)
        server.wait_fact("closed", loud.run)
        assert most_memory(server, paced.run) - before < GROWTH_BYTES
        loud.leave()
        wait_for(lambda: open_streams(door, server) == 0, "the end of all connections")


def unharmed(paced: Stream) -> None:
    longest, last = 0.0, time.monotonic()
    text = ""
    for frame in paced.frames():
        now = time.monotonic()
        longest, last = max(longest, now - last), now
        text += text_of(frame)
    assert text == "".join(f"{number} " for number in range(300))
    assert longest < 1.0


def open_streams(door: Door, server: Server) -> int:
    with door.connect(server) as connection:
        connection.settimeout(DEADLINE)
        connection.sendall(b"GET /open HTTP/1.0\r\n\r\n")
        answer = b""
        while data := connection.recv(1024):
            answer += data
    return int(answer.rpartition(b"\r\n\r\n")[2])


def number_of(frame: Frame) -> int:
    return int((frame.id or "").rpartition(":")[2])


def most_memory(server: Server, run: str) -> int:
    """The most that the worker of this run has ever used, in bytes."""
    pid = server.wait_fact("called", run)["pid"]
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024
