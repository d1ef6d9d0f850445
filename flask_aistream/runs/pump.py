"""Call a provider, append its events to the log, and return the outcome.

The provider's generator is always closed, and not advanced once the run has ended.
"""

from __future__ import annotations

import inspect
import logging
import time
import typing as t
from collections.abc import Callable

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
"""Time after which a provider that never blocks yields control; it would starve all other runs otherwise."""

WRITE_REJECTED = ev.Interrupted("killed")
"""Outcome of a provider whose write the log rejected. Normally the caller that ended or released the run has
recorded another outcome before."""

CLOCK_INTERVAL = 16
"""Chunks between two looks at the clock. With 1, a provider that never blocks costs 7 % more CPU time (median of ten
paired runs, 4 to 19 %)."""


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
        self._chunks = Chunks(Accounting(previous_usage, call.request.restarts))
        self._surrogates = SurrogateJoiner()
        self._terminal: ev.Terminal = ev.Finished()
        self.first_at: float | None = None

    @property
    def is_async(self) -> bool:
        """Whether the provider is an ``async def``; it must then run on a loop from the start."""
        provider = self._call.provider
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
        """Call a synchronous provider and pump its chunks to the end.

        :returns: The outcome. If the provider returns something asynchronous, that instead, for :meth:`run_async`.
        """
        with self._call.context_factory():
            try:
                result = self._classify(self._call.provider(self._call.request))
                if not isinstance(result, Sync):
                    return result
                try:
                    self._pump(result, yield_control)
                finally:
                    result.close()
                return self._flush()
            except (Exception, SystemExit) as error:
                return self._failure(error)

    async def run_async(
        self, yield_control: Callable[[], t.Awaitable[None]], result: Async | Deferred | None = None
    ) -> ev.Terminal:
        """As :meth:`run`, on an asyncio loop.

        :param result: What the provider has returned; ``None``: it is still to be called.
        """
        with self._call.context_factory():
            try:
                found: Result = result or self._classify(self._call.provider(self._call.request))
                while isinstance(found, Deferred):
                    found = self._classify(await found.awaitable, awaited=True)
                if isinstance(found, Sync):
                    try:
                        self._pump(found, lambda: None)
                    finally:
                        found.close()
                else:
                    try:
                        await self._pump_async(found, yield_control)
                    finally:
                        await found.aclose()
                return self._flush()
            except (Exception, SystemExit) as error:  # exit() would stop the loop, or the worker.
                return self._failure(error)

    def _classify(self, given: t.Any, *, awaited: bool = False) -> Result:
        if given is None:
            logger.warning(
                "Run %s of %r: the provider returned None, so its answer is empty. Did it forget to yield?",
                self._log.run.id,
                self._log.run.provider,
            )
        return classify(given, awaited=awaited)

    def _pump(self, result: Sync, yield_control: Callable[[], None]) -> None:
        yield_at = self._clock() + YIELD_SECONDS
        for count, chunk in enumerate(result.chunks, 1):
            # Without this shortcut for text, a provider that never blocks costs 74 % more CPU time (median of ten
            # paired runs, 35 to 85 %).
            if not (self._append(chunk) if type(chunk) is str else self._append_chunk(chunk)):
                return
            if count % CLOCK_INTERVAL == 0 and self._clock() >= yield_at:
                yield_control()
                yield_at = self._clock() + YIELD_SECONDS

    async def _pump_async(
        self, result: Async, yield_control: Callable[[], t.Awaitable[None]]
    ) -> None:
        count = 0
        yield_at = self._clock() + YIELD_SECONDS
        async for chunk in result.chunks:
            if not (self._append(chunk) if type(chunk) is str else self._append_chunk(chunk)):
                return
            count += 1
            if count % CLOCK_INTERVAL == 0 and self._clock() >= yield_at:
                await yield_control()
                yield_at = self._clock() + YIELD_SECONDS

    def _append_chunk(self, chunk: t.Any) -> bool:
        """Append the events of a chunk that is not plain text.

        :returns: Whether to advance the provider.
        """
        return all(self._append_event(event) for event in self._chunks.events(chunk))

    def _append_event(self, event: ev.Event) -> bool:
        if isinstance(event, ev.TERMINAL):
            self._terminal = event
            return isinstance(event, ev.Finished) and not self._log.ended
        return self._append(event)

    def _append(self, event: ev.Event) -> bool:
        if type(event) is str:
            # ASCII skips the joiner: without this test, a provider that never blocks costs 10 % more CPU time (5 to 19 %).
            if self._surrogates.pending or not event.isascii():
                event = self._surrogates.join(event)
                if not event:  # Half of a surrogate pair: it is appended with its other half.
                    return not self._log.ended
            event = INTERN_POOL[event]
        if self.first_at is None:
            self.first_at = self._clock()
        try:
            self._write(event)
        except LogEnded:
            self._terminal = WRITE_REJECTED
            return False
        return True

    def _flush(self) -> ev.Terminal:
        if self._terminal is WRITE_REJECTED:
            return WRITE_REJECTED
        for event in self._chunks.close():
            if not self._append_event(event):  # Rejected: a terminal event after it does not count.
                break
        rest = self._surrogates.join("", last=True)
        if rest:
            self._append(rest)
        return self._terminal

    def _failure(self, error: BaseException) -> ev.Failed:
        if isinstance(error, ProviderError):
            return ev.Failed(str(error.code), str(error), error.status)
        if isinstance(error, ChunkUnknown):
            logger.error("Run %s of %r: %s", self._log.run.id, self._log.run.provider, error)
            return ev.Failed(error.code, str(error))
        if not self._log.ended:  # After a stop, an SDK may report the closed connection.
            logger.exception(
                "Run %s of %r: the provider failed", self._log.run.id, self._log.run.provider
            )
        return ev.Failed(
            "provider_error",
            f"The provider failed. The server's log has the details under {self._log.run.id}.",
        )


def reject(event: ev.Event) -> t.NoReturn:
    raise LogEnded
