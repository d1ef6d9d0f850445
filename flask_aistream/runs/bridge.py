"""Async providers: a coroutine on the process's asyncio loop, as a task like any other."""

from __future__ import annotations

import asyncio
import contextvars
import typing as t
from collections.abc import Callable
from collections.abc import Coroutine

from flask_aistream.core.events import Terminal


class LoopTask:
    """Work on a loop that runs in another thread or greenlet.

    :param work: Called on the loop; makes the coroutine.
    :param done: Called on the loop when the coroutine has ended, also if it was interrupted before it
        began. Must not block.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Callable[[], Coroutine[t.Any, t.Any, Terminal]],
        done: Callable[[asyncio.Task[Terminal]], None],
    ) -> None:
        self.alive = False
        self._loop = loop
        self._work = work
        self._done = done
        self._task: asyncio.Task[Terminal] | None = None
        self._interrupted = False

    def begin(self) -> None:
        """Not done by making one: who is to interrupt it must know it first."""
        self.alive = True
        # An empty context: the request's own would be inherited, and never be torn down.
        self._loop.call_soon_threadsafe(self._begin, context=contextvars.Context())

    def interrupt(self) -> None:
        if self._interrupted:  # A second one would break into the provider's cleaning up.
            return
        self._interrupted = True
        self._loop.call_soon_threadsafe(self._cancel)

    def _begin(self) -> None:
        self._task = self._loop.create_task(self._work())
        self._task.add_done_callback(self._end)
        if self._interrupted:
            self._task.cancel()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _end(self, task: asyncio.Task[Terminal]) -> None:
        self.alive = False
        self._done(task)
