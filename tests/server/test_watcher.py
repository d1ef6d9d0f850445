"""Disconnects, as the kernel reports them."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable
from collections.abc import Iterator

import pytest

from flask_aistream.server.watcher import DisconnectWatcher
from tests.server.servers import DEADLINE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no epoll")


class Connection:
    """Both ends of one, and the watcher's reports."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.gone = threading.Event()

    def take_number(self, of: Connection) -> None:
        """Be what the system makes of a connection that comes when ``of`` is closed."""
        number = of.ours.fileno()
        of.ours.close()
        os.dup2(self.ours.fileno(), number)
        self.ours.close()
        self.ours = socket.socket(fileno=number)

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def connect() -> Iterator[Callable[[], Connection]]:
    made: list[Connection] = []

    def one() -> Connection:
        made.append(Connection())
        return made[-1]

    yield one
    for connection in made:
        connection.close()


def test_a_disconnect_is_reported_once(connect: Callable[[], Connection]) -> None:
    watcher, connection = DisconnectWatcher(), connect()
    times: list[int] = []

    def gone() -> None:
        times.append(1)
        connection.gone.set()

    watcher.watch(connection.ours.fileno(), gone)
    assert not connection.gone.is_set()
    connection.theirs.close()
    assert connection.gone.wait(DEADLINE)
    another = connect()
    watcher.watch(another.ours.fileno(), another.gone.set)
    another.theirs.close()
    assert another.gone.wait(DEADLINE)
    assert times == [1]


def test_a_forgotten_connection_is_not_reported(connect: Callable[[], Connection]) -> None:
    watcher, connection, another = DisconnectWatcher(), connect(), connect()
    watcher.watch(connection.ours.fileno(), connection.gone.set)
    watcher.forget(connection.ours.fileno())
    connection.theirs.close()
    watcher.watch(another.ours.fileno(), another.gone.set)
    another.theirs.close()
    assert another.gone.wait(DEADLINE)
    assert not connection.gone.is_set()


def fail() -> None:
    raise ZeroDivisionError


def test_one_that_fails_does_not_blind_us_to_others(connect: Callable[[], Connection]) -> None:
    watcher, connection, another = DisconnectWatcher(), connect(), connect()
    watcher.watch(connection.ours.fileno(), fail)
    connection.theirs.close()
    watcher.watch(another.ours.fileno(), another.gone.set)
    another.theirs.close()
    assert another.gone.wait(DEADLINE)


def test_news_of_an_old_connection_are_not_those_of_a_new_one_with_its_number(
    connect: Callable[[], Connection],
) -> None:
    watcher = DisconnectWatcher()
    first, second, old, new = connect(), connect(), connect(), connect()
    for connection in (first, second, old):
        connection.theirs.close()
    told, go_on = threading.Event(), [threading.Event(), threading.Event()]

    def hold_up(until: threading.Event) -> Callable[[], None]:
        def callback() -> None:
            told.set()
            assert until.wait(DEADLINE)

        return callback

    # While it is busy with the first, it has the next two in one go.
    watcher.watch(first.ours.fileno(), hold_up(go_on[0]))
    assert told.wait(DEADLINE)
    told.clear()
    watcher.watch(second.ours.fileno(), hold_up(go_on[1]))
    watcher.watch(old.ours.fileno(), old.gone.set)
    go_on[0].set()
    assert told.wait(DEADLINE)
    watcher.forget(old.ours.fileno())
    new.take_number(old)
    watcher.watch(new.ours.fileno(), new.gone.set)
    go_on[1].set()

    last = connect()
    last.theirs.close()
    watcher.watch(last.ours.fileno(), last.gone.set)
    assert last.gone.wait(DEADLINE)
    assert not new.gone.is_set()
    assert not old.gone.is_set()
    new.theirs.close()
    assert new.gone.wait(DEADLINE)
