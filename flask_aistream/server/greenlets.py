"""Concurrency on gevent's hub."""

from __future__ import annotations

import asyncio
import sys
import typing as t
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager

import gevent
import greenlet
from gevent import monkey
from gevent.selectors import GeventSelector

plain_lock = monkey.get_original("threading", "Lock")

SPARES = 4
"""Greenlets that stand ready for work, at most."""


class Greenlets:
    """Everything runs on the hub of the thread that made this."""

    def __init__(self) -> None:
        self._hub = gevent.get_hub()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._guests: t.Any = None
        self._pool = GreenletPool(self._hub)

    def spawn(self, work: Callable[[], None]) -> GreenTask:
        return GreenTask(self._hub, self._pool, work)

    def spawn_thread(self, work: Callable[[], None]) -> None:
        if self._guests is None:
            # The hub cannot see such a thread: with nothing else to wait for, it would think that
            # nobody will ever wake it.
            self._guests = self._hub.loop.async_()
            self._guests.start(lambda: None)
        monkey.get_original("_thread", "start_new_thread")(work, ())

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        self._hub.loop.run_callback_threadsafe(callback)

    def waiter(self) -> GreenWaiter:
        return GreenWaiter(self._hub)

    def alarm(self, ring: Callable[[], None]) -> GreenAlarm:
        return GreenAlarm(self._hub, ring)

    def lock(self) -> AbstractContextManager[object]:
        # Not gevent's: no greenlet switches inside, so it is only ever held by one, and the system's
        # own costs a third (0.26 against 0.83 µs a round). A token takes four.
        return t.cast("AbstractContextManager[object]", plain_lock())

    def yield_control(self) -> None:
        gevent.sleep(0)

    def asyncio_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = start_hidden_loop()
        return self._loop


class GreenletPool:
    """Greenlets, each for one piece of work.

    Raw ones: gevent's own class takes three times as long to start, and 2 KiB more, for the stack that
    started it, for links and a result. Nobody asks for those here. What is dear then is the memory that
    Python maps for the stack of each: that is done, and undone, when there is nothing else to do.
    """

    def __init__(self, hub: t.Any) -> None:
        self._hub = hub
        self._ready: list[greenlet.greenlet] = []
        self._spent: list[greenlet.greenlet] = []
        self._idle = hub.loop.idle()

    def put_to(self, work: Callable[[], None]) -> greenlet.greenlet:
        """Have a greenlet do ``work``, in the next turn of the hub."""
        if not self._idle.active:
            self._idle.start(self._tidy)
        if self._ready:
            one = self._ready.pop()
            self._hub.loop.run_callback(one.switch, work)
        else:
            one = greenlet.greenlet(serve, self._hub)
            self._hub.loop.run_callback(one.switch, self._hub, self._spent, work)
        return one

    def _tidy(self) -> None:
        self._idle.stop()
        while self._spent:
            self._spent.pop().switch()
        while len(self._ready) < SPARES:
            one = greenlet.greenlet(serve, self._hub)
            one.switch(self._hub, self._spent)
            self._ready.append(one)


def serve(
    hub: t.Any, spent: list[greenlet.greenlet], work: Callable[[], None] | None = None
) -> None:
    """What a greenlet of the crew does. It knows neither the crew, which must not be kept by those who
    wait in it, nor its work once that is done."""
    try:
        if work is None:
            work = hub.switch()
        work()
        work = None
        if len(spent) < SPARES:
            spent.append(gevent.getcurrent())
            hub.switch()
    except greenlet.GreenletExit:
        pass
    except BaseException:  # It would end the hub, which is this greenlet's parent.
        hub.handle_error(gevent.getcurrent(), *sys.exc_info())


class GreenTask:
    __slots__ = ("_greenlet", "_hub", "_work")

    def __init__(self, hub: t.Any, crew: GreenletPool, work: Callable[[], None]) -> None:
        self._hub = hub
        self._work: Callable[[], None] | None = work
        self._greenlet = crew.put_to(self._run)

    @property
    def alive(self) -> bool:
        return self._work is not None and not self._greenlet.dead

    def interrupt(self) -> None:
        # GreenletExit is raised inside the read it blocks in; the SDK's `finally` closes the socket.
        if not self.alive:
            return
        if gevent.getcurrent() is self._hub:
            # Here and now: the greenlet comes back to the hub when it ends or waits. In the queue it would
            # stand behind all that was woken meanwhile.
            self._greenlet.throw()
        else:
            self._hub.loop.run_callback(self._greenlet.throw)

    def _run(self) -> None:
        assert self._work
        try:
            self._work()
        finally:
            self._work = None


class GreenWaiter:
    """Switches by itself: an Event takes four times as long, and a hub's own waiter a third longer and
    250 bytes more of every sleeping reader."""

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
                # Killed, and what is on its way to wake it would break into what it waits for next.
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
    """Makes an asyncio loop that lives in one greenlet invisible to the others.

    asyncio keeps the running loop, and Python its async generator hooks, for each OS thread, so a
    loop in a greenlet makes every other greenlet's ``asyncio.run`` fail. A planned switch away from
    the loop happens only here: what the thread had before is put back for that time.
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
    """An asyncio loop running in a greenlet of this thread, or soon. Does not wait for it: others would
    meanwhile find none, and start more.

    Not in a native thread: gevent's patched locks (logging has one) lose wake-ups between OS threads.
    """
    selector = HiddenSelector()
    loop = asyncio.SelectorEventLoop(selector)

    def serve() -> None:
        selector.outer_loop = asyncio._get_running_loop()
        selector.outer_hooks = sys.get_asyncgen_hooks()
        asyncio._set_running_loop(None)
        loop.run_forever()

    gevent.spawn(serve)
    return loop
