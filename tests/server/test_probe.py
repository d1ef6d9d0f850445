"""Whether a server accepts connections at an address."""

from __future__ import annotations

import os
import socket
import threading
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_aistream.server.probe import Address
from flask_aistream.server.probe import addresses_of
from flask_aistream.server.probe import answers

NOT_LONG = 0.05
LONG = 10.0

PLACES: dict[str, tuple[int, t.Any]] = {
    "one interface": (socket.AF_INET, ("127.0.0.1", 0)),
    "all interfaces": (socket.AF_INET, ("0.0.0.0", 0)),
    "a file": (socket.AF_UNIX, "here"),
    "a name": (socket.AF_UNIX, f"\0tests-{os.getpid()}"),
}


@pytest.fixture(params=PLACES)
def listener(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    monkeypatch.chdir(tmp_path)  # A path of a socket may not be long.
    family, name = PLACES[request.param]
    with socket.socket(family) as listener:
        listener.bind(name)
        listener.listen()
        yield listener


def test_a_server_that_accepts_and_closes_the_connection_answers(listener: socket.socket) -> None:
    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(1) == b""  # Nothing was said.

    server = threading.Thread(target=serve)
    server.start()
    assert answers(address_of(listener), LONG, tls=False)
    server.join()


def test_a_connection_that_is_not_accepted_is_no_answer(listener: socket.socket) -> None:
    assert not answers(address_of(listener), NOT_LONG, tls=False)


def test_a_closed_listener_does_not_answer(listener: socket.socket) -> None:
    address = address_of(listener)
    listener.close()
    assert addresses_of([listener]) == []
    assert not answers(address, LONG, tls=False)


def address_of(listener: socket.socket) -> Address:
    (address,) = addresses_of([listener])
    return address
