"""Async providers: coroutines on the process's asyncio loop, with the interface of a task."""

from __future__ import annotations

import asyncio
import contextvars
import typing as t
from collections.abc import Callable
from collections.abc import Coroutine

from flask_aistream.timing.coalesce import Coalescer


class Bridge:
    """Access to an asyncio loop that runs in another thread or greenlet.

    :param asyncio_loop: Returns the loop; starts it at the first call.
    """

    def __init__(self, asyncio_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self._asyncio_loop = asyncio_loop
        self._cancelling = Coalescer(self.call_soon, LoopTask.cancel)

    def call_soon(
        self, callback: Callable[[], None], variables: contextvars.Context | None = None
    ) -> None:
        """Schedule ``callback`` on the loop.

        :param variables: Its context. By default an empty one: the caller's request context would be inherited
            and never be torn down.
        """
        context = contextvars.Context() if variables is None else variables
        self._asyncio_loop().call_soon_threadsafe(callback, context=context)

    def cancel_soon(self, task: LoopTask) -> None:
        """Schedule the cancellation of a task. Tasks that are cancelled together share one wake-up of the loop."""
        self._cancelling.add(task)


class LoopTask:
    """A coroutine on the loop.

    :param work: Called on the loop; returns the coroutine. Not called if the task is interrupted before that.
    :param variables: The context of both.
    """

    __slots__ = ("_bridge", "_interrupted", "_task", "_variables", "_work", "alive")

    def __init__(
        self,
        bridge: Bridge,
        work: Callable[[], Coroutine[t.Any, t.Any, None]],
        variables: contextvars.Context | None = None,
    ) -> None:
        self._variables = variables
        self.alive = False
        self._bridge = bridge
        self._work = work
        self._task: asyncio.Task[None] | None = None
        self._interrupted = False

    def start(self) -> None:
        """Separate from ``__init__``, so that the task is stored before it can be interrupted."""
        self.alive = True
        self._bridge.call_soon(self._start, self._variables)

    def interrupt(self) -> None:
        if not self._interrupted:  # A second one would break into the provider's clean-up.
            self._interrupted = True
            self._bridge.cancel_soon(self)

    def cancel(self) -> None:
        """Cancel the coroutine. Called on the loop, by the bridge."""
        if self._task is not None:
            self._task.cancel()

    def _start(self) -> None:
        if self._interrupted:
            self.alive = False
            return
        self._task = asyncio.get_running_loop().create_task(self._work())
        self._task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self.alive = False
        if not task.cancelled():
            task.exception()  # Marks the exception as retrieved; asyncio logs it otherwise.
