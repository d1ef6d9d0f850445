"""Provider → log: call the provider once, write what it says, say how it ended.

The user's generator is closed whatever happens, and never pulled again once the run has ended.
"""

from __future__ import annotations

import inspect
import logging
import time
import typing as t
from collections.abc import Callable
from types import FunctionType

from flask_aistream.core import events as ev
from flask_aistream.core.unicode import SurrogateJoiner
from flask_aistream.errors import ChunkUnknown
from flask_aistream.errors import LogEnded
from flask_aistream.errors import ProviderError
from flask_aistream.providers.accounting import Accounting
from flask_aistream.providers.results import Async
from flask_aistream.providers.results import Deferred
from flask_aistream.providers.results import Result
from flask_aistream.providers.results import Sync
from flask_aistream.providers.results import classify
from flask_aistream.providers.table import Chunks
from flask_aistream.runs.call import ProviderCall
from flask_aistream.runs.intern import INTERN_POOL
from flask_aistream.stores.base import Log

logger = logging.getLogger("flask_aistream")

YIELD_SECONDS = 0.001
"""Time after which others get a turn: a provider that never waits would starve every other run."""

ASYNC_DEF = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR

CUT_SHORT = ev.Interrupted("killed")
"""Somebody else ends the run, or gives it to another process. Should that fail, it has not finished."""

LOOK = 16
"""Chunks after which the clock is looked at."""


class Pump:
    """One call of one provider.

    :param previous_usage: Tokens used before the run was restarted.
    :ivar first_at: Time of the provider's first event, by the clock; ``None``: there was none yet.
    """

    __slots__ = (
        "_call",
        "_chunks",
        "_clock",
        "_log",
        "_previous_usage",
        "_surrogates",
        "_terminal",
        "_write",
        "first_at",
    )

    def __init__(
        self,
        call: ProviderCall,
        log: Log,
        clock: Callable[[], float] = time.monotonic,
        previous_usage: ev.Usage | None = None,
    ) -> None:
        self._call = call
        self._log = log
        self._write = log.append
        self._clock = clock
        self._previous_usage = previous_usage
        self._chunks: Chunks | None = None  # Created for the first chunk that is not text.
        self._surrogates = SurrogateJoiner()
        self._terminal: ev.Terminal = ev.Finished()
        self.first_at: float | None = None

    @property
    def is_async(self) -> bool:
        """Whether the provider is an ``async def``; it must then run on a loop from the start."""
        provider = self._call.provider
        if isinstance(provider, FunctionType):  # Most are; this costs a tenth of the general test.
            return bool(provider.__code__.co_flags & ASYNC_DEF)
        call = getattr(provider, "__call__", None)  # noqa: B004 – an object with async __call__
        return any(
            test(candidate)
            for candidate in (provider, call)
            for test in (inspect.isasyncgenfunction, inspect.iscoroutinefunction)
        )

    def fence(self) -> None:
        """Reject all further writes, even if the log accepts them: this process may own the run again, for
        another call of the provider."""
        self._write = reject

    def run(self, yield_control: Callable[[], None]) -> ev.Terminal | Async | Deferred:
        """Run to the end.

        :returns: How it ended; or, where the provider turned out to return something asynchronous,
            that, for :meth:`run_async`.
        """
        with self._call.context_factory():
            try:
                result = self._classify(self._call.provider(self._call.request))
                if not isinstance(result, Sync):
                    return result
                try:
                    self._drain(result, yield_control)
                finally:
                    result.close()
                return self._close()
            except (Exception, SystemExit) as error:
                return self._failed(error)

    async def run_async(
        self, yield_control: Callable[[], t.Awaitable[None]], result: Async | Deferred | None = None
    ) -> ev.Terminal:
        """The same on an asyncio loop."""
        with self._call.context_factory():
            try:
                found: Result = result or self._classify(self._call.provider(self._call.request))
                while isinstance(found, Deferred):
                    found = self._classify(await found.awaitable, awaited=True)
                if isinstance(found, Sync):
                    try:
                        self._drain(found, lambda: None)
                    finally:
                        found.close()
                else:
                    try:
                        await self._drain_async(found, yield_control)
                    finally:
                        await found.aclose()
                return self._close()
            except (Exception, SystemExit) as error:  # exit() would end the loop, or the worker.
                return self._failed(error)

    def _classify(self, given: t.Any, *, awaited: bool = False) -> Result:
        if given is None:
            logger.warning(
                "Run %s of %r: the provider returned None, so its answer is empty. Did it forget to yield?",
                self._log.run.id,
                self._log.run.provider,
            )
        return classify(given, awaited=awaited)

    def _drain(self, result: Sync, yield_control: Callable[[], None]) -> None:
        turn_ends = self._clock() + YIELD_SECONDS
        for count, chunk in enumerate(result.chunks, 1):
            if not (self._append(chunk) if type(chunk) is str else self._take(chunk)):
                return
            if count % LOOK == 0 and self._clock() >= turn_ends:
                yield_control()
                turn_ends = self._clock() + YIELD_SECONDS

    async def _drain_async(
        self, result: Async, yield_control: Callable[[], t.Awaitable[None]]
    ) -> None:
        count = 0
        turn_ends = self._clock() + YIELD_SECONDS
        async for chunk in result.chunks:
            if not (self._append(chunk) if type(chunk) is str else self._take(chunk)):
                return
            count += 1
            if count % LOOK == 0 and self._clock() >= turn_ends:
                await yield_control()
                turn_ends = self._clock() + YIELD_SECONDS

    def _take(self, chunk: t.Any) -> bool:
        """Write one chunk that is not plain text.

        :returns: Whether the provider is to go on.
        """
        if self._chunks is None:
            self._chunks = Chunks(Accounting(self._previous_usage, self._call.request.restarts))
        return all(self._say(event) for event in self._chunks.events(chunk))

    def _say(self, event: ev.Event) -> bool:
        if isinstance(event, ev.TERMINAL):
            self._terminal = event
            return isinstance(event, ev.Finished) and not self._log.ended
        return self._append(event)

    def _append(self, event: ev.Event) -> bool:
        if type(event) is str:
            if self._surrogates.pending or not event.isascii():
                event = self._surrogates.join(event)
                if not event:  # Half a character: it is written with its other half.
                    return not self._log.ended
            event = INTERN_POOL[event]
        if self.first_at is None:
            self.first_at = self._clock()
        try:
            self._write(event)
        except LogEnded:
            self._terminal = CUT_SHORT
            return False
        return True

    def _close(self) -> ev.Terminal:
        if self._terminal is CUT_SHORT:
            return CUT_SHORT
        for event in self._chunks.close() if self._chunks else ():
            if not self._say(event):  # An end that comes after what was not taken says nothing.
                break
        rest = self._surrogates.join("", last=True)
        if rest:
            self._append(rest)
        return self._terminal

    def _failed(self, error: BaseException) -> ev.Failed:
        if isinstance(error, ProviderError):
            return ev.Failed(str(error.code), str(error), error.status)
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


def reject(event: ev.Event) -> t.NoReturn:
    raise LogEnded
