"""Concurrency on OS threads."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import ctypes
import gc
import os
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from types import FrameType

from flask_aistream.server.event_loop import serve_forever


class Interrupt(BaseException):
    """Raised inside a provider's thread to make it stop. Not an ``Exception``: SDKs would retry."""


class Threads:
    def spawn(self, work: Callable[[], None]) -> ThreadTask:
        return ThreadTask(work)

    def spawn_thread(self, work: Callable[[], None]) -> None:
        daemon(work, "aistream-store")

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        callback()

    def waiter(self) -> ThreadWaiter:
        return ThreadWaiter()

    def alarm(self, ring: Callable[[], None]) -> ThreadAlarm:
        return ThreadAlarm(ring)

    def lock(self) -> AbstractContextManager[object]:
        return threading.Lock()

    def yield_control(self) -> None:
        time.sleep(0)

    def asyncio_loop(self) -> asyncio.AbstractEventLoop:
        with LOOPS_LOCK:
            loop = LOOPS.get(os.getpid())
            if loop is None or loop.is_closed():
                # The loop's own handles keep the context in which it is created: not that of a request.
                loop = contextvars.Context().run(asyncio.new_event_loop)
                LOOPS[os.getpid()] = loop
                daemon(partial(serve_forever, loop), "aistream-asyncio")
            return loop


# One for all applications of a process: clients that were made on one loop do not work on another.
LOOPS: dict[int, asyncio.AbstractEventLoop] = {}
LOOPS_LOCK = threading.Lock()


class ThreadTask:
    """A daemon thread that can be interrupted once. While the interpreter shuts down, a plain call."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._armed = True
        self._thread = threading.Thread(target=self._run, name="aistream-run", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            # In Python 3.12 an interpreter that shuts down starts no thread, in 3.12.0 and 3.12.1 not even
            # while it waits for other threads; but `run_ended` is still to be sent.
            if "shutdown" not in str(error):
                raise
            self._run()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def interrupt(self) -> None:
        with self._lock:
            if self._armed and self._thread.ident is not None:
                self._armed = False
                raise_in(self._thread.ident)
                unblock(self._thread.ident)

    def _run(self) -> None:
        try:
            try:
                self._work()
            finally:
                self._disarm()
        except Interrupt:
            self._disarm()  # Raised during _disarm(). There is no second one.

    def _disarm(self) -> None:
        """Raise nothing from here on: a pending interrupt is raised inside this method."""
        with self._lock:
            self._armed = False
        time.sleep(0)  # Python checks for asynchronous exceptions after every call into C.


class ThreadWaiter:
    """A lock that is locked until the next wake-up.

    Not an ``Event``, which is Python code: a stop could interrupt a provider's thread in the middle of
    waking a reader, which would then never wake. A lock is also several times as fast.
    """

    __slots__ = ("_gate",)

    def __init__(self) -> None:
        self._gate = threading.Lock()
        self._gate.acquire()

    def wait(self) -> None:
        self._gate.acquire()

    def wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # Unlocked already.
            self._gate.release()


CHECK_SECONDS = 60.0
"""Longest sleep of an alarm's thread, which then checks whether the alarm still exists."""


class ThreadAlarm:
    """One thread that sleeps until the time that was set last, and ends once the alarm is garbage."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = weakref.WeakMethod(ring)
        self._due = Due()
        sleeping = weakref.ref(self)
        due = self._due
        daemon(lambda: sleep_and_ring(sleeping, due), "aistream-timer")

    def set(self, delay: float) -> None:
        self._due.set(delay)

    def ring(self) -> None:
        ring = self._ring()
        if ring is not None:
            ring()


class Due:
    """When an alarm is to ring next."""

    def __init__(self) -> None:
        self._at: float | None = None
        self._changed = threading.Condition()

    def set(self, delay: float) -> None:
        with self._changed:
            self._at = time.monotonic() + delay
            self._changed.notify()

    def wait(self) -> bool:
        """Sleep until the alarm is due, at most :data:`CHECK_SECONDS`.

        :returns: Whether it is due.
        """
        with self._changed:
            left = self._left()
            if left > 0:
                self._changed.wait(left)
            if self._at is None or self._at > time.monotonic():
                return False
            self._at = None
            return True

    def _left(self) -> float:
        at = CHECK_SECONDS if self._at is None else self._at - time.monotonic()
        return min(at, CHECK_SECONDS)


def sleep_and_ring(sleeping: weakref.ref[ThreadAlarm], due: Due) -> None:
    while True:
        now = due.wait()
        alarm = sleeping()
        if alarm is None:
            return
        if now:
            alarm.ring()
        del alarm  # Sleep without a reference to it.


def daemon(work: Callable[[], object], name: str) -> threading.Thread:
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread


def raise_in(ident: int) -> None:
    """Raise ``Interrupt`` in a thread, as soon as it runs Python code again.

    Passing NULL would cancel that, but leaves the interpreter checking for exceptions after every
    instruction from then on.
    """
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(Interrupt))


def unblock(ident: int) -> None:
    """Shut down the socket that a thread is reading from, if it is.

    Nothing else ends a blocking read of another thread: closing the SDK's stream does not.
    """
    frame = frame_of(ident)
    found = socket_of(frame) if frame else None
    if found is not None:
        # On a copy of the descriptor: a TLS socket would first send a closing alert.
        with (
            contextlib.suppress(OSError, ValueError),
            socket.socket(fileno=socket.dup(found.fileno())) as same,
        ):
            same.shutdown(socket.SHUT_RDWR)


INSPECTING = threading.Lock()


def frame_of(ident: int) -> FrameType | None:
    """The current frame of a thread.

    Python 3.11 holds a lock of the interpreter meanwhile. A garbage collection in there runs Python code
    and may switch threads; the next thread that starts another one needs the same lock: a deadlock.
    """
    with INSPECTING:
        collects = gc.isenabled()
        gc.disable()
        try:
            return sys._current_frames().get(ident)
        finally:
            if collects:
                gc.enable()


# Attributes that hold the socket in httpcore, http.client and ssl, urllib3, redis.
SOCKETS = ("_sock", "sock", "_socket", "socket", "_connection")


def socket_of(frame: FrameType) -> socket.socket | None:
    """The socket that one of the two innermost frames reads; frames further out may use another one."""
    inner: FrameType | None = frame
    for _ in range(2):
        if inner is None:
            break
        reader = inner.f_locals.get("self")
        if isinstance(reader, socket.socket):
            return reader
        for name in SOCKETS:
            held = getattr(reader, name, None)
            if isinstance(held, socket.socket):
                return held
        inner = inner.f_back
    return None
