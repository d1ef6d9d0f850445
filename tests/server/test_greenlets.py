"""Greenlets, in a process that is not patched."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import gevent
import gevent.event
import pytest

from flask_aistream.server.greenlets import Greenlets
from flask_aistream.testing import DEADLINE


@pytest.fixture
def greenlets() -> Iterator[Greenlets]:
    made = Greenlets()
    yield made
    loop = made.serve_loop()
    loop.call_soon_threadsafe(loop.stop)
    with gevent.Timeout(DEADLINE):
        while loop.is_running():
            gevent.sleep(0)
    loop.close()


def test_all_who_ask_for_the_loop_at_once_get_the_same_one(greenlets: Greenlets) -> None:
    # Clients that were made on one loop do not work on another.
    asking = [gevent.spawn(greenlets.serve_loop) for _ in range(3)]
    gevent.joinall(asking, timeout=DEADLINE)
    assert {task.value for task in asking} == {greenlets.serve_loop()}


def test_the_loop_serves_what_it_was_given_before_it_ran(greenlets: Greenlets) -> None:
    served = gevent.event.AsyncResult()
    greenlets.serve_loop().call_soon_threadsafe(lambda: served.set(asyncio.get_running_loop()))
    assert served.get(timeout=DEADLINE) is greenlets.serve_loop()
    with contextlib.suppress(RuntimeError):
        asyncio.get_running_loop()
        pytest.fail("the loop must be hidden from everybody else")
