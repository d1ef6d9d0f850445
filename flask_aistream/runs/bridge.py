"""Async providers: a coroutine on the process's asyncio loop, as a task like any other."""

from __future__ import annotations

import asyncio
import contextvars
import typing as t
from collections.abc import Callable
from collections.abc import Coroutine

from flask_aistream.core.events import Terminal
from flask_aistream.timing.coalesce import Coalescer


class Bridge:
    """The way onto a loop that runs in another thread or greenlet.

    :param asyncio_loop: Gives the loop, and starts it the first time.
    """

    def __init__(self, asyncio_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self._asyncio_loop = asyncio_loop
        self._cancelling = Coalescer(self.call, LoopTask.cancel)

    def call(self, callback: Callable[[], None]) -> None:
        """Call back on the loop, soon."""
        # An empty context: the request's own would be inherited, and never be torn down.
        self._asyncio_loop().call_soon_threadsafe(callback, context=contextvars.Context())

    def cancel(self, task: LoopTask) -> None:
        """Cancel a task on the loop, soon: one wake-up serves all that are asked for until then."""
        self._cancelling.add(task)


class LoopTask:
    """Work on the loop.

    :param work: Called on the loop; makes the coroutine.
    :param done: Called on the loop when the coroutine has ended, also if it was interrupted before it
        began. Must not block.
    """

    __slots__ = ("_bridge", "_done", "_interrupted", "_task", "_work", "alive")

    def __init__(
        self,
        bridge: Bridge,
        work: Callable[[], Coroutine[t.Any, t.Any, Terminal]],
        done: Callable[[asyncio.Task[Terminal]], None],
    ) -> None:
        self.alive = False
        self._bridge = bridge
        self._work = work
        self._done = done
        self._task: asyncio.Task[Terminal] | None = None
        self._interrupted = False

    def begin(self) -> None:
        """Not done by making one: who is to interrupt it must know it first."""
        self.alive = True
        self._bridge.call(self._begin)

    def interrupt(self) -> None:
        if self._interrupted:  # A second one would break into the provider's cleaning up.
            return
        self._interrupted = True
        self._bridge.cancel(self)

    def cancel(self) -> None:
        """What the bridge calls on the loop when it was interrupted."""
        if self._task is not None:
            self._task.cancel()

    def _begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._work())
        self._task.add_done_callback(self._end)
        if self._interrupted:
            self._task.cancel()

    def _end(self, task: asyncio.Task[Terminal]) -> None:
        self.alive = False
        self._done(task)
