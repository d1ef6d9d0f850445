"""Call a provider, append its events to the log, and return the outcome.

The provider's generator is always closed, and not advanced once the run has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import re
import time
import typing as t
from collections.abc import Callable
from contextlib import aclosing
from contextlib import closing
from contextvars import Context
from types import FunctionType

from flask_aistream.core import events as ev
from flask_aistream.core.unicode import SurrogateJoiner
from flask_aistream.errors import ChunkUnknown
from flask_aistream.errors import LogEnded
from flask_aistream.errors import ProviderError
from flask_aistream.errors import ValueInvalid
from flask_aistream.providers.accounting import Accounting
from flask_aistream.providers.failure import failure
from flask_aistream.providers.failure import failure_of
from flask_aistream.providers.raw import Response
from flask_aistream.providers.raw import aread
from flask_aistream.providers.raw import aread_out
from flask_aistream.providers.raw import is_async
from flask_aistream.providers.raw import is_raw
from flask_aistream.providers.raw import read
from flask_aistream.providers.raw import read_out
from flask_aistream.providers.results import Async
from flask_aistream.providers.results import Deferred
from flask_aistream.providers.results import Result
from flask_aistream.providers.results import Sync
from flask_aistream.providers.results import classify
from flask_aistream.providers.results import is_sdk_stream
from flask_aistream.providers.results import stream_of
from flask_aistream.providers.table import NO_OBJECTS
from flask_aistream.providers.table import Chunks
from flask_aistream.runs.call import ProviderCall
from flask_aistream.runs.intern import INTERN_POOL
from flask_aistream.stores.base import Log

logger = logging.getLogger("flask_aistream")

YIELD_SECONDS = 0.001
"""Time after which a provider that never blocks yields control; it would starve all other runs otherwise."""

ASYNC_DEF = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR

WRITE_REJECTED = ev.Interrupted("killed")
"""Outcome of a provider whose write the log rejected. Normally the caller that ended or released the run has
recorded another outcome before."""

TOO_LONG = ev.Finished("length")
"""Outcome of a run that exceeds its limits."""

WARNED: set[t.Any] = set()
"""Code objects of providers without an end marker. The warning is logged once for each."""

RAW_ITERATED = re.compile(
    r"'(Async|Legacy)?(API)?Response(ContextManager)?' object is not (an )?(async )?itera"
    r"|'async for' requires an object with __aiter__ method, got \w*Response\w*"
)
"""Message of ``yield from`` and of a loop over a raw response."""

CLOCK_INTERVAL = 16
"""Chunks between two reads of the clock. With 1, a provider that never blocks costs 7 % more CPU time (median of ten
paired runs, 4 to 19 %)."""

SMALL_BYTES = 16 * 1024**2
LENGTH_INTERVAL = 256
"""Chunks between two checks of a run's length, for limits that are much larger; otherwise ``CLOCK_INTERVAL``."""


class Pump:
    """One call of one provider.

    :param previous_usage: Usage before the run was restarted.
    :ivar _direct: The provider returned the SDK's stream, or reads it with ``yield from``, so its end marker is not missed.
    :ivar ticks: Number of parts of raw bodies, including pings, which have no event.
    :ivar first_at: Time of the provider's first event, by the clock; ``None`` before it.
    """

    __slots__ = (
        "_call",
        "_checked",
        "_chunks",
        "_clock",
        "_direct",
        "_length_interval",
        "_log",
        "_previous_usage",
        "_surrogates",
        "_terminal",
        "_unread",
        "_write",
        "first_at",
        "ticks",
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
        self._direct = False
        self._terminal: ev.Terminal | None = None
        self._unread: list[Response] = []
        small = call.max_events < 100 * LENGTH_INTERVAL or call.max_bytes < SMALL_BYTES
        self._length_interval = CLOCK_INTERVAL if small else LENGTH_INTERVAL
        self._checked = 0  # Chunks so far, at the last check of the run's length.
        self.first_at: float | None = None
        self.ticks = 0

    @property
    def variables(self) -> Context:
        return self._call.variables

    @property
    def begun(self) -> bool:
        """Whether the provider has yielded an event, or its response has begun."""
        return self.first_at is not None or self.ticks > 0

    @property
    def silence_limit(self) -> float | None:
        """Longest silence from now on, in seconds; ``None``: unlimited."""
        return self._call.idle_seconds if self.begun else self._call.first_event_seconds

    @property
    def silence_limits(self) -> list[float]:
        """The limits of the silence before the first event and between two events."""
        limits = (self._call.idle_seconds, self._call.first_event_seconds)
        return [limit for limit in limits if limit is not None]

    @property
    def is_async(self) -> bool:
        """Whether the provider is an ``async def``; it must then run on a loop from the start."""
        provider = self._call.provider
        if isinstance(
            provider, FunctionType
        ):  # The common case, at a tenth of the cost of the general test.
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

    def run(
        self, yield_control: Callable[[], None], pause: Callable[[], object] = lambda: None
    ) -> ev.Terminal | Async | Deferred:
        """Call a synchronous provider and pump its chunks to the end.

        :param pause: As for :func:`~flask_aistream.providers.raw.read`.
        :returns: The outcome. If the provider returns something asynchronous, that instead, for :meth:`run_async`.
        """
        with self._call.context_factory():
            try:
                result = self._classify(self._call.provider(self._call.request))
                if not isinstance(result, Sync):
                    return result
                try:
                    self._pump(result, yield_control, pause)
                finally:
                    result.close()
                return self._flush()
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt) or self._interrupted_by(error):
                    raise
                return self._failure(error)

    async def run_async(
        self, yield_control: Callable[[], t.Awaitable[None]], result: Async | Deferred | None = None
    ) -> ev.Terminal:
        """As :meth:`run`, on an asyncio loop.

        :param result: The return value of the provider; ``None``: the provider was not called yet.
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
            except BaseException as error:  # exit() would stop the loop, or the worker.
                if self._interrupted_by(error) or (
                    isinstance(error, asyncio.CancelledError) and is_being_cancelled()
                ):
                    raise
                return self._failure(error)

    def _classify(self, given: t.Any, *, awaited: bool = False) -> Result:
        if given is None:
            logger.warning(
                "Run %.8s of %r: the provider returned None, so its answer is empty. Did it forget to yield?",
                self._log.run.id,
                self._log.run.provider,
            )
        return classify(given, awaited=awaited)

    def _pump(
        self,
        result: Sync,
        yield_control: Callable[[], None],
        pause: Callable[[], object] = lambda: None,
    ) -> None:
        yield_at = self._clock() + YIELD_SECONDS
        self._direct = is_sdk_stream(result.source)
        for count, chunk in enumerate(result.chunks, 1):
            # Without this shortcut for text, a provider that never blocks costs 74 % more CPU time (median of ten
            # paired runs, 35 to 85 %).
            if type(chunk) is str:
                if not self._append(chunk):
                    return
            elif is_raw(chunk):
                if not self._pump_raw(chunk, yield_control, pause):
                    return
            elif not self._append_chunk(chunk, result):
                return
            if count % CLOCK_INTERVAL == 0:
                if count % self._length_interval == 0 and self._is_too_long():
                    return
                if self._clock() >= yield_at:
                    yield_control()
                    yield_at = self._clock() + YIELD_SECONDS

    def _pump_raw(
        self,
        response: t.Any,
        yield_control: Callable[[], None],
        pause: Callable[[], object] = lambda: None,
    ) -> bool:
        yield_at = self._clock() + YIELD_SECONDS
        self.close_unread()
        accounting = self._translator().accounting
        reader = read(response, accounting, self._tick, self._unread, pause, self._clock)
        with closing(reader) as events:
            for count, event in enumerate(events, 1):
                if not (self._append(event) if type(event) is str else self._append_event(event)):
                    return False
                if count % CLOCK_INTERVAL == 0:
                    if count % self._length_interval == 0 and self._is_too_long():
                        return False
                    if self._clock() >= yield_at:
                        yield_control()
                        yield_at = self._clock() + YIELD_SECONDS
        return True

    async def _pump_async(
        self, result: Async, yield_control: Callable[[], t.Awaitable[None]]
    ) -> None:
        count = 0
        yield_at = self._clock() + YIELD_SECONDS
        self._direct = is_sdk_stream(result.source)
        async for chunk in result.chunks:
            if type(chunk) is str:
                if not self._append(chunk):
                    return
            elif is_raw(chunk):
                if not await self._pump_raw_async(chunk, yield_control):
                    return
            elif not self._append_chunk(chunk, result):
                return
            count += 1
            if count % CLOCK_INTERVAL == 0:
                if count % self._length_interval == 0 and self._is_too_long():
                    return
                if self._clock() >= yield_at:
                    await yield_control()
                    yield_at = self._clock() + YIELD_SECONDS

    async def _pump_raw_async(
        self, response: t.Any, yield_control: Callable[[], t.Awaitable[None]]
    ) -> bool:
        if not is_async(response):
            return self._pump_raw(response, lambda: None)
        count = 0
        yield_at = self._clock() + YIELD_SECONDS
        await self.aread_out()
        accounting = self._translator().accounting
        async with aclosing(aread(response, accounting, self._tick, self._unread)) as events:
            async for event in events:
                if not (self._append(event) if type(event) is str else self._append_event(event)):
                    return False
                count += 1
                if count % CLOCK_INTERVAL == 0:
                    if count % self._length_interval == 0 and self._is_too_long():
                        return False
                    if self._clock() >= yield_at:
                        await yield_control()
                        yield_at = self._clock() + YIELD_SECONDS
        return True

    @property
    def unread(self) -> bool:
        """Whether a response has bytes after its end marker that are not read yet."""
        return bool(self._unread)

    def read_out(self) -> None:
        """Read the rest of such responses, after the run has ended. Blocks until their servers end them."""
        while self._unread:
            with contextlib.suppress(Exception):
                read_out(self._unread.pop())

    async def aread_out(self) -> None:
        while self._unread:
            with contextlib.suppress(Exception):
                await aread_out(self._unread.pop())

    def close_unread(self) -> None:
        while self._unread:
            with contextlib.suppress(Exception):
                self._unread.pop().close()

    def _append_chunk(self, chunk: t.Any, result: Sync | Async) -> bool:
        """Append the events of a chunk that is not plain text.

        :returns: Whether to advance the provider.
        """
        chunks = self._translator()
        if not chunks.incomplete:  # Another answer may begin.
            stream = stream_of(result, chunk)
            self._direct = stream is not None
            chunks.from_stream(stream)
        if self._direct and type(chunk) in NO_OBJECTS:
            chunks.ignore(chunk)
            return True
        return all(self._append_event(event) for event in chunks.events(chunk))

    def _translator(self) -> Chunks:
        if self._chunks is None:
            self._chunks = Chunks(Accounting(self._previous_usage, self._call.request.restarts))
        return self._chunks

    def _tick(self) -> None:
        self.ticks += 1

    def _is_too_long(self) -> bool:
        """Whether the run exceeds its limits, and is to be finished. Called every ``_length_interval`` chunks."""
        log, call = self._log, self._call
        self._checked += self._length_interval
        # The log of a shared store counts only durable events.
        events = max(self._checked, log.tail)
        if events < call.max_events and log.size < call.max_bytes:
            return False
        self._terminal = TOO_LONG
        logger.warning(
            "Run %.8s of %r was finished after %d events and %d bytes, the limit of AISTREAM_RUN_TOKENS or "
            "AISTREAM_RUN_BYTES.",
            log.run.id,
            log.run.provider,
            events,
            log.size,
        )
        return True

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
                if not event:  # A lone surrogate is appended together with the next one.
                    return not self._log.ended
            event = INTERN_POOL[event]
        if self.first_at is None:
            self.first_at = self._clock()
            if self._call.on_first_event is not None:
                self._call.on_first_event()
        try:
            self._write(event)
        except LogEnded:
            self._terminal = WRITE_REJECTED
            return False
        return True

    def _flush(self) -> ev.Terminal:
        if self._terminal is WRITE_REJECTED or self._terminal is TOO_LONG:
            return self._terminal
        if (
            self._direct
            and self._terminal is None
            and self.first_at is None
            and not (self._chunks and self._chunks.recognized)
        ):
            raise failure("upstream_incomplete")
        terminal = self._outcome(self._chunks) if self._chunks else self._terminal
        rest = self._surrogates.join("", last=True)
        if rest:
            self._append(rest)
        return terminal or self._terminal or ev.Finished()

    def _outcome(self, chunks: Chunks) -> ev.Terminal | None:
        """The outcome that the SDKs reported."""
        if chunks.odd:
            logger.debug(
                "Run %.8s of %r ignored chunks: %s",
                self._log.run.id,
                self._log.run.provider,
                dict(chunks.odd),
            )
        if isinstance(self._terminal, ev.Failed | ev.Stopped | ev.Interrupted):
            return self._terminal
        if self._direct and (chunks.incomplete or chunks.never_ended):
            raise failure("upstream_incomplete")
        if chunks.awaits_approval:
            self._terminal = ev.Finished("tool-calls")
        called = False
        for event in chunks.close():
            called = called or isinstance(event, ev.ToolCall)
            if not self._append_event(event):  # Rejected: a terminal event after it does not count.
                return None
        if chunks.incomplete:
            self._warn_of_no_end()
            return ev.Finished("tool-calls" if called else "unknown")
        if self._terminal is None and chunks.awaits_tools:
            return ev.Finished("tool-calls")
        return self._terminal

    def _warn_of_no_end(self) -> None:
        provider = getattr(self._call.provider, "__code__", self._call.provider.__class__)
        if provider in WARNED:
            return
        WARNED.add(provider)
        logger.warning(
            "The provider %r omits the last chunk of an answer, so a lost connection looks like a complete "
            "answer, and its runs finish with the reason `unknown`. Return the SDK's stream unchanged, or "
            "yield Finished() at the end. This is logged once.",
            self._log.run.provider,
        )

    def _interrupted_by(self, error: BaseException) -> bool:
        """Whether this package or the server raised ``error`` in the provider, to interrupt it."""
        if isinstance(error, Exception):
            return False
        killed = (
            type(error).__module__.startswith("greenlet") or type(error).__name__ == "Interrupt"
        )
        return self._write is reject or killed

    def _failure(self, error: BaseException) -> ev.Failed:
        if isinstance(error, ProviderError):
            if error.__cause__ is not None and not self._log.ended:
                self._log_failure(error.code, error.__cause__)
            return failed(error)
        if isinstance(error, TypeError) and RAW_ITERATED.search(str(error)):
            error = ChunkUnknown(error)
        if isinstance(error, ChunkUnknown | ValueInvalid):
            logger.error("Run %.8s of %r: %s", self._log.run.id, self._log.run.provider, error)
            self._report(error)
            if isinstance(error, ChunkUnknown):
                return ev.Failed(error.code, str(error))
            sentence = "The provider yielded a value without a JSON form."
            return ev.Failed(error.code, f"{sentence} {self._reference}")
        if known := failure_of(error, time.time()) or http_exception(error):
            if not self._log.ended:
                self._log_failure(known.code, error)
            return failed(known)
        if not self._log.ended:  # After a stop, an SDK may report the closed connection.
            logger.error(
                "Run %.8s of %r: the provider failed",
                self._log.run.id,
                self._log.run.provider,
                exc_info=error,
            )
            self._report(error)
        if is_timeout(error):
            return ev.Failed("provider_timeout", f"The provider timed out. {self._reference}", 504)
        return ev.Failed("provider_error", f"The provider failed. {self._reference}")

    @property
    def _reference(self) -> str:
        return f"The server's log has the details under {self._log.run.id[:8]}."

    def _report(self, error: BaseException) -> None:
        if self._call.on_exception is None:
            return
        try:
            self._call.on_exception(error, self.first_at is None)
        except Exception:
            logger.exception("Run %.8s: a receiver of an exception failed", self._log.run.id)

    def _log_failure(self, code: str, cause: BaseException) -> None:
        logger.warning(
            "Run %.8s of %r: %s",
            self._log.run.id,
            self._log.run.provider,
            code,
            exc_info=cause,
        )


def is_being_cancelled() -> bool:
    """Whether this task was cancelled, instead of having raised ``CancelledError`` itself."""
    task = asyncio.current_task()
    cancelling = getattr(task, "cancelling", None)  # Since Python 3.11.
    return cancelling is not None and cancelling() > 0


def is_timeout(error: BaseException) -> bool:
    """Whether an error is a timeout, of Python or of gevent, whose ``Timeout`` is no ``Exception``."""
    kinds = type(error).__mro__
    return isinstance(error, TimeoutError) or any(
        kind.__name__ == "Timeout" and kind.__module__.partition(".")[0] == "gevent"
        for kind in kinds
    )


def http_exception(error: BaseException) -> ProviderError | None:
    """The error of Flask's ``abort()`` as a ``ProviderError`` with the same status; ``None`` for other errors."""
    names = {f"{kind.__module__}.{kind.__name__}" for kind in type(error).__mro__}
    if "werkzeug.exceptions.HTTPException" not in names:
        return None
    status = getattr(error, "code", None) or getattr(
        getattr(error, "response", None), "status_code", None
    )
    if not isinstance(status, int) or status < 400:
        return None
    name = str(getattr(error, "name", None) or "http_error").lower().replace(" ", "_")
    message = str(getattr(error, "description", None) or "The request was rejected.")
    retry_after = getattr(error, "retry_after", None)
    seconds = float(retry_after) if isinstance(retry_after, int | float) else None
    return ProviderError(name, message, status=status, retry_after=seconds)


def failed(error: ProviderError) -> ev.Failed:
    return ev.Failed(str(error.code), str(error), error.status, error.retry_after)


def reject(event: ev.Event) -> t.NoReturn:
    raise LogEnded
