"""Writes to gevent's sockets, as gunicorn does them."""

from __future__ import annotations

import contextlib
import http.client
import socket as plain
import typing as t
from array import array
from collections.abc import Iterator

import gevent
import pytest
from gevent.socket import create_connection
from gevent.socket import socket
from gevent.socket import timeout

from flask_aistream.server.fast_send import QuickSocket
from flask_aistream.server.fast_send import quicken
from tests.server.conftest import Serve

MUCH = bytes(range(256)) * 40_000
"""More than the kernel takes at once."""


class Pair(t.NamedTuple):
    ours: t.Any
    theirs: plain.socket


@pytest.fixture
def pair() -> Iterator[Pair]:
    with plain.create_server(("127.0.0.1", 0)) as door:
        ours = create_connection(door.getsockname())
        theirs, _ = door.accept()
    quicken(ours)
    with ours, theirs:
        yield Pair(ours, theirs)


def read_all(theirs: plain.socket) -> bytes:
    """To the end, while others go on."""
    parts = []
    with socket(fileno=theirs.detach()) as reader:
        while part := reader.recv(1 << 16):
            parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize(
    "data",
    [b"", b"data: 1\n\n", MUCH, memoryview(b"data: 1\n\n"), bytearray(MUCH), array("I", [1] * 9)],
    ids=["nothing", "a page", "much", "view", "bytearray", "array"],
)
def test_all_that_is_written_arrives_once_and_in_order(pair: Pair, data: t.Any) -> None:
    reader = gevent.spawn(read_all, pair.theirs)
    for _ in range(3):
        pair.ours.sendall(data)
    pair.ours.close()
    assert reader.get() == 3 * bytes(data)


def test_whoever_is_told_to_wait_for_a_slow_client_lets_others_go_on(pair: Pair) -> None:
    writer = gevent.spawn(pair.ours.sendall, MUCH)
    gevent.idle()
    assert not writer.ready()
    reader = gevent.spawn(read_all, pair.theirs)
    writer.get()
    pair.ours.close()
    assert reader.get() == MUCH


def test_a_time_limit_holds(pair: Pair) -> None:
    pair.ours.settimeout(0.05)
    with pytest.raises(timeout):
        pair.ours.sendall(MUCH)


def test_a_socket_that_never_waits_says_so(pair: Pair) -> None:
    pair.ours.setblocking(False)
    with pytest.raises(BlockingIOError):
        pair.ours.sendall(MUCH)


def test_a_connection_that_was_cut_off_is_an_error(pair: Pair) -> None:
    pair.ours.shutdown(plain.SHUT_WR)
    with pytest.raises(BrokenPipeError):
        pair.ours.sendall(b"data: 1\n\n")


def test_a_closed_socket_is_an_error(pair: Pair) -> None:
    pair.ours.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        pair.ours.sendall(b"data: 1\n\n")


def test_a_connection_that_is_kept_is_quickened_once(pair: Pair) -> None:
    quicken(pair.ours)
    assert type(pair.ours) is QuickSocket


class Other(socket):
    """As gevent's own for TLS."""


@pytest.mark.parametrize("make", [plain.socket, Other], ids=["plain", "other"])
def test_what_is_no_plain_socket_of_gevents_is_left_alone(make: t.Any) -> None:
    with make() as connection:
        quicken(connection)
        assert type(connection) is make


def test_where_there_is_no_connection_nothing_is_done() -> None:
    quicken(None)


@pytest.mark.server
def test_gunicorn_writes_a_stream_so(serve: Serve) -> None:
    line = http.client.HTTPConnection("127.0.0.1", serve("gevent").port, timeout=20)
    said = []
    with contextlib.closing(line):
        for path in ("/socket", "/ai/count?prompt=x&n=3", "/socket"):
            line.request("GET", path)
            said.append(line.getresponse().read().decode())
    assert said[0] == "socket"
    assert '{"text":"2 "}' in said[1]
    assert said[2] == "QuickSocket"
