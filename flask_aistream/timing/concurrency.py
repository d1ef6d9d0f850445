"""Contracts of concurrency, the same for OS threads and greenlets.

The implementations are in ``server/``, which alone knows whether gevent has patched the process. All other code
uses ``threading``, which gevent patches.
"""

from __future__ import annotations

import asyncio
import typing as t
from collections.abc import Callable
from contextlib import AbstractContextManager


class Waiter(t.Protocol):
    """Suspends one thread or greenlet until another one wakes it."""

    def wait(self) -> None:
        """Block until woken; return at once if woken since the last call. Spurious wake-ups are possible."""
        ...

    def wake(self) -> None:
        """Unblock :meth:`wait`. Never blocks; any thread of the process may call it."""
        ...


class Task(t.Protocol):
    """Work that runs concurrently."""

    @property
    def alive(self) -> bool: ...

    def interrupt(self) -> None:
        """Raise a ``BaseException`` in the task at its current instruction, even in a blocking read.

        Returns at once. Has no effect on a task that has ended.
        """
        ...


class Alarm(t.Protocol):
    """One timer of the platform."""

    def set(self, delay: float) -> None:
        """Call back once, ``delay`` seconds from now; replaces the time set before."""
        ...


class Spawner(t.Protocol):
    """Starts and synchronizes work. Stores need no more than this."""

    def spawn(self, work: Callable[[], None]) -> object:
        """Run ``work`` concurrently: in a greenlet of a patched process, otherwise in a thread."""
        ...

    def spawn_thread(self, work: Callable[[], None]) -> None:
        """Run ``work`` in an OS thread, also in a patched process. There it must not touch patched
        objects (locks of ``threading``, logging): gevent's locks lose wake-ups between OS threads."""
        ...

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` on the thread that runs the greenlets. It must not block."""
        ...

    def waiter(self) -> Waiter: ...

    def lock(self) -> AbstractContextManager[object]:
        """A cheap lock for a critical section that neither blocks nor switches greenlets."""
        ...


class Concurrency(Spawner, t.Protocol):
    """The concurrency of this process."""

    def spawn(self, work: Callable[[], None]) -> Task:
        """As :meth:`Spawner.spawn`.

        :raises RuntimeError: No thread can be started.
        """
        ...

    def alarm(self, callback: Callable[[], None], /) -> Alarm:
        """A timer.

        :param callback: A bound method that does not block. The alarm references its object weakly.
        """
        ...

    def yield_control(self) -> None:
        """Let other threads or greenlets run."""
        ...

    def asyncio_loop(self) -> asyncio.AbstractEventLoop:
        """A running asyncio loop, one a process, created at the first call."""
        ...
