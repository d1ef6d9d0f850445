"""Provider → log: call the provider once, write what it says, say how it ended.

The user's generator is closed whatever happens, and never pulled again once the run has ended.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import time
import typing as t
from collections.abc import AsyncIterable
from collections.abc import Callable
from collections.abc import Iterable
from contextlib import AbstractContextManager

from flask_aistream.core import events as ev
from flask_aistream.core.request import ChatRequest
from flask_aistream.errors import ChunkUnknown
from flask_aistream.errors import LogEnded
from flask_aistream.errors import ProviderError
from flask_aistream.providers.table import Chunks
from flask_aistream.stores.base import Log

logger = logging.getLogger("flask_aistream")

Provider = Callable[[ChatRequest], t.Any]

BREATH = 256
"""Chunks after which others get a turn: a provider that never waits would starve every other run."""


class Pump:
    """One call of one provider.

    :param surroundings: Entered around all of the provider's code (an application context).
    """

    def __init__(
        self,
        provider: Provider,
        request: ChatRequest,
        log: Log,
        surroundings: Callable[[], AbstractContextManager[t.Any]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._provider = provider
        self._request = request
        self._log = log
        self._surroundings = surroundings
        self._clock = clock
        self._chunks = Chunks()
        self._terminal: ev.Terminal = ev.Finished()
        self.first_at: float | None = None

    @property
    def is_async(self) -> bool:
        """Whether the provider is an ``async def``; it must then run on a loop from the start."""
        call = getattr(self._provider, "__call__", None)  # noqa: B004 – an object with async __call__
        return any(
            test(candidate)
            for candidate in (self._provider, call)
            for test in (inspect.isasyncgenfunction, inspect.iscoroutinefunction)
        )

    def run(self, breathe: Callable[[], None]) -> ev.Terminal | t.Any:
        """Run to the end.

        :returns: How it ended; or, where the provider turned out to return something asynchronous,
            that something, for :meth:`run_async`.
        """
        with self._surroundings():
            try:
                result = self._provider(self._request)
                if inspect.isawaitable(result) or isinstance(result, AsyncIterable):
                    return result
                with closing(result):
                    for count, chunk in enumerate(chunks_of(result)):
                        if not self._take(chunk):
                            break
                        if count % BREATH == 0:
                            breathe()
                return self._close()
            except Exception as error:
                return self._failed(error)

    async def run_async(
        self, breathe: Callable[[], t.Awaitable[None]], result: t.Any = None
    ) -> ev.Terminal:
        """The same on an asyncio loop."""
        with self._surroundings():
            try:
                if result is None:
                    result = self._provider(self._request)
                if inspect.isawaitable(result):
                    result = await result
                async with closing_async(result):
                    count = 0
                    async for chunk in async_chunks_of(result):
                        if not self._take(chunk):
                            break
                        if count % BREATH == 0:
                            await breathe()
                        count += 1
                return self._close()
            except Exception as error:
                return self._failed(error)

    def _take(self, chunk: t.Any) -> bool:
        """Write one chunk.

        :returns: Whether the provider is to go on.
        """
        if type(chunk) is str:
            return self._append(chunk)
        return all(self._say(event) for event in self._chunks.events(chunk))

    def _say(self, event: ev.Event) -> bool:
        if isinstance(event, ev.TERMINAL):
            self._terminal = event
            return isinstance(event, ev.Finished) and not self._log.ended
        return self._append(event)

    def _append(self, event: ev.Event) -> bool:
        if self.first_at is None:
            self.first_at = self._clock()
        try:
            self._log.append(event)
        except LogEnded:
            return False
        return True

    def _close(self) -> ev.Terminal:
        for event in self._chunks.close():
            self._say(event)
        return self._terminal

    def _failed(self, error: Exception) -> ev.Failed:
        if isinstance(error, ProviderError):
            return ev.Failed(error.code, str(error), error.status)
        if isinstance(error, ChunkUnknown):
            logger.error("Run %s of %r: %s", self._log.run.id, self._log.run.provider, error)
            return ev.Failed(error.code, str(error))
        if not self._log.ended:  # After a stop, an SDK may complain of the cut connection.
            logger.exception(
                "Run %s of %r: the provider failed", self._log.run.id, self._log.run.provider
            )
        return ev.Failed(
            "provider_error",
            f"The provider failed. The server's log tells more under {self._log.run.id}.",
        )


def chunks_of(result: t.Any) -> Iterable[t.Any]:
    """What to iterate: the result itself, unless it is one whole answer or none."""
    if result is None:
        return ()
    if isinstance(result, (str, dict, tuple, *ev.EVENTS)) or not isinstance(result, Iterable):
        return (result,)
    return result


async def async_chunks_of(result: t.Any) -> t.AsyncIterator[t.Any]:
    if isinstance(result, AsyncIterable):
        async for chunk in result:
            yield chunk
    else:
        for chunk in chunks_of(result):
            yield chunk


def closing(result: t.Any) -> AbstractContextManager[t.Any]:
    """Close what can be closed: a generator, an SDK's stream."""
    close = getattr(result, "close", None)
    return contextlib.closing(result) if callable(close) else contextlib.nullcontext()


@contextlib.asynccontextmanager
async def closing_async(result: t.Any) -> t.AsyncIterator[None]:
    try:
        yield
    finally:
        close = getattr(result, "aclose", None) or getattr(result, "close", None)
        closed = close() if callable(close) else None
        if inspect.isawaitable(closed):
            await closed
