"""Greenlets, in a process that is not patched."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import typing as t
import weakref
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
    loop = made.asyncio_loop()
    # A loop that only stops is started again.
    loop.run_forever = loop.close  # type: ignore[method-assign]
    loop.call_soon_threadsafe(loop.stop)
    with gevent.Timeout(DEADLINE):
        while not loop.is_closed():
            gevent.sleep(0)


def test_callers_that_ask_for_the_loop_at_once_get_the_same_one(greenlets: Greenlets) -> None:
    # Clients that were made on one loop do not work on another.
    asking = [gevent.spawn(greenlets.asyncio_loop) for _ in range(3)]
    gevent.joinall(asking, timeout=DEADLINE)
    assert {task.value for task in asking} == {greenlets.asyncio_loop()}


def test_the_loop_runs_callbacks_that_were_scheduled_before_it_started(
    greenlets: Greenlets,
) -> None:
    served = gevent.event.AsyncResult()
    greenlets.asyncio_loop().call_soon_threadsafe(lambda: served.set(asyncio.get_running_loop()))
    assert served.get(timeout=DEADLINE) is greenlets.asyncio_loop()
    with contextlib.suppress(RuntimeError):
        asyncio.get_running_loop()
        pytest.fail("the loop must be hidden from other greenlets")


def pause() -> None:
    """Return when the hub is idle."""
    for _ in range(2):  # Several idle watchers run in any order.
        waiter = gevent.hub.Waiter()
        idle = gevent.get_hub().loop.idle()
        idle.start(waiter.switch, None)
        waiter.get()
        idle.close()


def test_each_task_has_a_greenlet_of_its_own(greenlets: Greenlets) -> None:
    # What one run left in a threading.local, or a timeout it did not cancel, must not reach the next.
    seen: list[t.Any] = []
    for _ in range(20):
        greenlets.spawn(lambda: seen.append(gevent.getcurrent()))
        pause()
    assert len({id(one) for one in seen}) == 20


def test_work_interrupted_before_its_turn_is_never_done(greenlets: Greenlets) -> None:
    done: list[bool] = []
    alive: list[bool] = []

    def spawn_and_interrupt() -> None:
        task = greenlets.spawn(lambda: done.append(True))
        task.interrupt()
        alive.append(task.alive)

    gevent.get_hub().loop.run_callback(spawn_and_interrupt)
    pause()
    assert (done, alive) == ([], [False])


def test_work_that_fails_ends_neither_the_hub_nor_other_work(
    greenlets: Greenlets, capfd: pytest.CaptureFixture[str]
) -> None:
    done = threading.Event()
    greenlets.spawn(lambda: t.cast(None, 1 / 0))
    greenlets.spawn(done.set)
    pause()
    assert done.is_set()
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_a_task_that_has_ended_keeps_nothing_alive() -> None:
    greenlets = Greenlets()
    work = threading.Event()
    gone = weakref.ref(work)
    task = greenlets.spawn(work.set)
    pause()
    del work
    assert gone() is None
    assert not task.alive


def test_a_reader_that_was_woken_before_it_sleeps_does_not_sleep(greenlets: Greenlets) -> None:
    waiter = greenlets.waiter()
    waiter.wake()
    waiter.wake()
    with gevent.Timeout(DEADLINE):
        waiter.wait()


def test_a_sleeping_reader_is_woken_by_another_greenlet(greenlets: Greenlets) -> None:
    waiter = greenlets.waiter()
    reader = gevent.spawn(waiter.wait)
    gevent.sleep(0)
    assert not reader.ready()
    waiter.wake()
    reader.get(timeout=DEADLINE)


def test_a_sleeping_reader_is_woken_by_a_native_thread(greenlets: Greenlets) -> None:
    waiter = greenlets.waiter()
    reader = gevent.spawn(waiter.wait)
    gevent.sleep(0)
    gevent.get_hub().threadpool.apply(waiter.wake)
    reader.get(timeout=DEADLINE)


def test_a_reader_killed_and_woken_at_once_is_not_woken_in_its_next_wait(
    greenlets: Greenlets,
) -> None:
    waiter = greenlets.waiter()
    cleaned = gevent.event.Event()

    def read() -> str:
        try:
            waiter.wait()
        except gevent.GreenletExit:
            cleaned.wait()
            return "cleaned up"
        return "woken"

    reader = gevent.spawn(read)
    gevent.sleep(0)
    gevent.get_hub().loop.run_callback(reader.throw)
    waiter.wake()
    gevent.sleep(0)
    cleaned.set()
    assert reader.get(timeout=DEADLINE) == "cleaned up"
