"""Concurrency on gevent's hub."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import typing as t
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager

import gevent
import greenlet
from gevent import monkey
from gevent.selectors import GeventSelector

from flask_aistream.server.blocking import warn_of_grpc
from flask_aistream.server.event_loop import serve_forever

plain_lock = monkey.get_original("threading", "Lock")


class Greenlets:
    """Concurrency on the hub of the thread that creates it."""

    def __init__(self) -> None:
        self._hub = gevent.get_hub()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._keep_alive: t.Any = None
        warn_of_grpc()

    def spawn(self, work: Callable[[], None]) -> GreenTask:
        return GreenTask(self._hub, work)

    def spawn_thread(self, work: Callable[[], None]) -> None:
        if self._keep_alive is None:
            # The hub does not see native threads: with nothing else to wait for, it would raise
            # LoopExit, "this operation would block forever".
            self._keep_alive = self._hub.loop.async_()
            self._keep_alive.start(lambda: None)
        monkey.get_original("_thread", "start_new_thread")(work, ())

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        self._hub.loop.run_callback_threadsafe(callback)

    def waiter(self) -> GreenWaiter:
        return GreenWaiter(self._hub)

    def alarm(self, ring: Callable[[], None]) -> GreenAlarm:
        return GreenAlarm(self._hub, ring)

    def lock(self) -> AbstractContextManager[object]:
        # The operating system's lock, not gevent's: no greenlet switches while it holds one. Ten paired
        # rounds, µs a token: flat 0.84 (0.81–0.94) against 1.23 (1.16–1.48) with gevent's, tick 2.81
        # (2.66–3.19) against 3.14 (3.02–3.94).
        return t.cast("AbstractContextManager[object]", plain_lock())

    def yield_control(self) -> None:
        gevent.sleep(0)

    def asyncio_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None or self._loop.is_closed():
            self._loop = start_hidden_loop()
        return self._loop


class GreenTask:
    """Work in a greenlet of its own, begun in the next turn of the hub.

    A raw greenlet: gevent's class keeps links, a result and the stack that started it, which no caller of
    :meth:`Concurrency.spawn` asks for.
    """

    __slots__ = ("_greenlet", "_hub")

    def __init__(self, hub: t.Any, work: Callable[[], None]) -> None:
        self._hub = hub
        self._greenlet = greenlet.greenlet(do, hub)
        hub.loop.run_callback(self._greenlet.switch, hub, work)

    @property
    def alive(self) -> bool:
        return not self._greenlet.dead

    def interrupt(self) -> None:
        # GreenletExit is raised inside the read it blocks in; the SDK's `finally` closes the socket.
        if not self.alive:
            return
        if gevent.getcurrent() is self._hub:
            # Switch now: the greenlet returns to the hub when it ends or waits. As a callback it would run
            # after all callbacks that are queued.
            self._greenlet.throw()
        else:
            self._hub.loop.run_callback(self._greenlet.throw)


def do(hub: t.Any, work: Callable[[], None]) -> None:
    """Run a task's work, and report what it raises to the hub."""
    try:
        work()
    except greenlet.GreenletExit:
        pass
    except BaseException:  # It would end the hub, which is this greenlet's parent.
        hub.handle_error(gevent.getcurrent(), *sys.exc_info())


class GreenWaiter:
    """Switches to and from the hub by itself.

    With ``gevent.event.Event`` instead, a token that is written alone (tick, no flush interval) costs 9.17
    (8.86–9.98) instead of 7.44 (7.30–9.41) µs: ten paired rounds, 1.21 (1.06–1.26) times as much.
    """

    __slots__ = ("_hub", "_sleeper", "_waking", "_woken")

    def __init__(self, hub: t.Any) -> None:
        self._hub = hub
        self._sleeper: greenlet.greenlet | None = None
        self._waking: t.Any = None
        self._woken = False

    def wait(self) -> None:
        if not self._woken:
            self._sleeper = gevent.getcurrent()
            try:
                self._hub.switch()
            except BaseException:
                # Killed: a wake-up that is queued would interrupt what the greenlet waits for next.
                if self._waking is not None:
                    self._waking.stop()
                raise
            finally:
                self._sleeper = self._waking = None
        self._woken = False

    def wake(self) -> None:
        if self._woken:
            return
        self._woken = True
        if self._sleeper is not None:
            loop = self._hub.loop
            if gevent.get_hub() is self._hub:
                self._waking = loop.run_callback(self._sleeper.switch)
            else:  # A native thread, such as one of gevent's own pool.
                self._waking = loop.run_callback_threadsafe(self._sleeper.switch)


class GreenAlarm:
    def __init__(self, hub: t.Any, ring: Callable[[], None]) -> None:
        self._hub = hub
        self._ring = weakref.WeakMethod(ring)
        self._timer: t.Any = None

    def set(self, delay: float) -> None:
        if self._timer is not None:
            self._timer.close()
        self._timer = self._hub.loop.timer(delay)
        self._timer.start(ring_of, self._ring)


def ring_of(ring: weakref.WeakMethod[Callable[[], None]]) -> None:
    method = ring()
    if method is not None:
        method()


class HiddenSelector(GeventSelector):  # type: ignore[misc]
    """Hides an asyncio loop that runs in one greenlet from all others.

    asyncio keeps the running loop, and Python its async generator hooks, per OS thread, so a loop in a
    greenlet makes every other greenlet's ``asyncio.run`` fail. The loop switches to other greenlets only
    here, and restores for that time what the thread had before.
    """

    outer_loop: asyncio.AbstractEventLoop | None = None
    outer_hooks: t.Any = (None, None)

    def select(self, timeout: float | None = None) -> list[t.Any]:
        ours, our_hooks = asyncio._get_running_loop(), sys.get_asyncgen_hooks()
        asyncio._set_running_loop(self.outer_loop)
        sys.set_asyncgen_hooks(*self.outer_hooks)
        try:
            return t.cast("list[t.Any]", super().select(timeout))
        finally:
            self.outer_loop, self.outer_hooks = (
                asyncio._get_running_loop(),
                sys.get_asyncgen_hooks(),
            )
            asyncio._set_running_loop(ours)
            sys.set_asyncgen_hooks(*our_hooks)


def start_hidden_loop() -> asyncio.AbstractEventLoop:
    """Start an asyncio loop in a greenlet of this thread, without waiting until it runs: a caller that
    arrived meanwhile would start another one.

    Not in a native thread: gevent's patched locks (logging has one) lose wake-ups between OS threads.
    """
    selector = HiddenSelector()
    # The loop's own handles keep the context in which it is created: not that of a request.
    loop = contextvars.Context().run(asyncio.SelectorEventLoop, selector)

    def prepare() -> None:
        selector.outer_loop = asyncio._get_running_loop()
        selector.outer_hooks = sys.get_asyncgen_hooks()
        asyncio._set_running_loop(None)

    gevent.spawn(serve_forever, loop, prepare)
    return loop
