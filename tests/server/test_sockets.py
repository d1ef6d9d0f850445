"""The socket below a response."""

from __future__ import annotations

import socket
import struct
import sys
import threading
import typing as t
from collections.abc import Iterator

import pytest

from flask_aistream.server import sockets
from flask_aistream.server.sockets import BUFFER_LOCK
from flask_aistream.server.sockets import SEND_BUFFER
from flask_aistream.server.sockets import bound
from flask_aistream.server.sockets import cut
from flask_aistream.server.sockets import descriptor_of
from flask_aistream.server.sockets import hang_up
from flask_aistream.server.sockets import is_shared
from flask_aistream.server.sockets import socket_of
from flask_aistream.server.sockets import take_error
from flask_aistream.server.sockets import unbound

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Both ends of a connection: the server's, and the client's."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        theirs = socket.create_connection(door.getsockname())
        ours, _ = door.accept()
    with ours, theirs:
        yield ours, theirs


def test_the_kernel_buffers_a_bounded_number_of_bytes(pair: Pair) -> None:
    ours, _ = pair
    bound(ours, 10.0)
    assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) in (SEND_BUFFER, 2 * SEND_BUFFER)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 15_000


def test_afterwards_the_kernel_may_hold_more_again(pair: Pair) -> None:
    ours, _ = pair
    bound(ours, 10.0)
    try:
        assert ours.getsockopt(socket.SOL_SOCKET, BUFFER_LOCK) == 1
    except OSError:
        pytest.skip("this kernel has no SO_BUF_LOCK")
    unbound(ours.fileno())
    assert ours.getsockopt(socket.SOL_SOCKET, BUFFER_LOCK) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is acknowledged")
@pytest.mark.parametrize("end", ["reads", "waits", "resets", "leaves"])
def test_bytes_are_acknowledged_once_the_peer_has_them(
    end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "ACKNOWLEDGE_SECONDS", 0.2 if end == "waits" else 10.0)
    with socket.create_server(("127.0.0.1", 0)) as door:
        theirs = socket.socket()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        theirs.connect(door.getsockname())
        ours, _ = door.accept()
    ours.sendall(b"x" * 100_000)
    reader = threading.Thread(target=END[end], args=(theirs,))
    reader.start()
    try:
        assert sockets.is_acknowledged(ours.fileno()) is (end == "reads")
    finally:
        reader.join()
        ours.close()
        theirs.close()


def read(peer: socket.socket) -> None:
    left = 100_000
    while left:
        left -= len(peer.recv(left))


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


END: dict[str, t.Callable[[socket.socket], object]] = {
    "reads": read,
    "waits": lambda peer: None,
    "resets": reset,
    "leaves": lambda peer: peer.close(),
}


def closed() -> socket.socket:
    gone = socket.socket()
    gone.close()
    return gone


@pytest.mark.parametrize("connection", [None, object(), closed()], ids=["none", "else", "closed"])
def test_a_closed_or_missing_socket_is_ignored(connection: t.Any) -> None:
    bound(connection, 10.0)
    assert descriptor_of(connection) is None


def test_a_socket_that_is_no_network_connection_is_not_bounded() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        before = ours.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        bound(ours, 10.0)
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == before


def test_a_connection_is_cut_for_both_and_stays_to_be_closed(pair: Pair) -> None:
    ours, theirs = pair
    cut(ours.fileno())
    assert theirs.recv(1) == b""
    with pytest.raises(BrokenPipeError):
        ours.send(b"!")


def test_bytes_written_before_hanging_up_arrive(pair: Pair) -> None:
    ours, theirs = pair
    ours.send(b"!")
    hang_up(ours.fileno())
    assert (theirs.recv(10), theirs.recv(10)) == (b"!", b"")
    theirs.send(b"?")
    assert ours.recv(10) == b"?"


@pytest.mark.parametrize("act", [cut, hang_up, take_error])
def test_acting_on_a_closed_socket_raises_nothing(act: t.Callable[[int], None], pair: Pair) -> None:
    ours, theirs = pair
    theirs.close()
    act(ours.fileno())
    fd = ours.fileno()
    ours.close()
    act(fd)


ENVIRONS: list[t.Any] = [
    pytest.param({"gunicorn.socket": 7}, 7, id="gunicorn"),
    pytest.param({"gunicorn.sock": 7}, 7, id="gunicorn with gevent's server"),
    pytest.param({"werkzeug.socket": 7}, 7, id="werkzeug"),
    pytest.param({"wsgi.input": None}, None, id="somebody else"),
]


@pytest.mark.parametrize(("environ", "found"), ENVIRONS)
def test_servers_tell_the_socket_in_their_own_ways(environ: t.Any, found: t.Any) -> None:
    assert socket_of(environ) == found


@pytest.mark.parametrize(("version", "shared"), [("1.1", False), ("2", True), (None, False)])
def test_only_on_http_2_a_connection_has_other_responses_too(version: t.Any, shared: bool) -> None:
    assert is_shared({"HTTP_VERSION": version} if version else {}) is shared
