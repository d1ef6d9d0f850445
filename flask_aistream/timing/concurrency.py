"""The contract of concurrency: what greenlets and threads must both be able to do.

The implementations are in ``server/``, which alone knows which of the two a process has. Everything
else is written to ``threading``, which a patched worker turns into greenlets.
"""

from __future__ import annotations

import asyncio
import typing as t
from collections.abc import Callable
from contextlib import AbstractContextManager


class Waiter(t.Protocol):
    """Where one reader sleeps."""

    def wait(self) -> None:
        """Sleep until woken; return at once if woken since the last time. May wake for nothing."""
        ...

    def wake(self) -> None:
        """Wake the sleeper. Never blocks; any thread of the process may call it."""
        ...


class Task(t.Protocol):
    """Work going on beside the requests."""

    @property
    def alive(self) -> bool: ...

    def interrupt(self) -> None:
        """End the work where it stands, even in a blocking read, by raising a ``BaseException`` there.

        Returns at once. Calling it on a task that has ended does nothing.
        """
        ...


class Alarm(t.Protocol):
    """One timer."""

    def set(self, delay: float) -> None:
        """Ring once, ``delay`` seconds from now, and not at the time set before."""
        ...


class Concurrency(t.Protocol):
    """How this process does several things at once."""

    def spawn(self, work: Callable[[], None]) -> Task: ...

    def spawn_thread(self, work: Callable[[], None]) -> None:
        """Do ``work`` in an OS thread, also in a patched process. There it must not touch anything
        that is patched: gevent's locks lose wake-ups between OS threads."""
        ...

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        """From such a thread: call ``callback``, which must not block, where greenlets live."""
        ...

    def waiter(self) -> Waiter: ...

    def alarm(self, ring: Callable[[], None]) -> Alarm:
        """A timer.

        :param ring: A method that does not block. Its object is not kept alive.
        """
        ...

    def lock(self) -> AbstractContextManager[object]:
        """A lock for a few steps that neither block nor let others run, which makes it cheap."""
        ...

    def yield_control(self) -> None:
        """Let others run."""
        ...

    def asyncio_loop(self) -> asyncio.AbstractEventLoop:
        """An asyncio loop that is running beside everything else. Made once a process."""
        ...
