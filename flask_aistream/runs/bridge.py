"""Async providers: a coroutine on the process's asyncio loop, with the interface of a task."""

from __future__ import annotations

import asyncio
import contextvars
import typing as t
from collections.abc import Callable
from collections.abc import Coroutine


class LoopTask:
    """A coroutine on a loop that runs in another thread or greenlet.

    :param asyncio_loop: Returns the loop; starts it at the first call.
    :param work: Called on the loop; returns the coroutine. Not called if the task is interrupted before that.
    """

    __slots__ = ("_asyncio_loop", "_interrupted", "_task", "_work", "alive")

    def __init__(
        self,
        asyncio_loop: Callable[[], asyncio.AbstractEventLoop],
        work: Callable[[], Coroutine[t.Any, t.Any, None]],
    ) -> None:
        self.alive = False
        self._asyncio_loop = asyncio_loop
        self._work = work
        self._task: asyncio.Task[None] | None = None
        self._interrupted = False

    def start(self) -> None:
        """Separate from ``__init__``, so that the task is stored before it can be interrupted."""
        self.alive = True
        self._call_soon(self._start)

    def interrupt(self) -> None:
        if not self._interrupted:  # A second one would break into the provider's clean-up.
            self._interrupted = True
            self._call_soon(self._cancel)

    def _call_soon(self, callback: Callable[[], None]) -> None:
        # An empty context: the caller's request context would be inherited and never be torn down.
        self._asyncio_loop().call_soon_threadsafe(callback, context=contextvars.Context())

    def _start(self) -> None:
        if self._interrupted:
            self.alive = False
            return
        self._task = asyncio.get_running_loop().create_task(self._work())
        self._task.add_done_callback(self._done)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _done(self, task: asyncio.Task[None]) -> None:
        self.alive = False
        if not task.cancelled():
            task.exception()  # Marks the exception as retrieved; asyncio logs it otherwise.
