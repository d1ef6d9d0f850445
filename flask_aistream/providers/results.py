"""Turn the return value of a provider into one iterator.

A provider may be a generator, or return one; return an SDK's stream or a raw response, inside or
outside of its ``with`` block; be ``async`` in any of these; or return a string or a complete response.
"""

from __future__ import annotations

import types
import typing as t
from collections.abc import AsyncIterator
from collections.abc import Awaitable
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import AsyncExitStack
from contextlib import ExitStack
from dataclasses import dataclass

from flask_aistream.providers.inner_iterators import ASYNC
from flask_aistream.providers.inner_iterators import reading
from flask_aistream.providers.raw import is_async
from flask_aistream.providers.raw import is_raw
from flask_aistream.providers.table import NO_OBJECTS
from flask_aistream.providers.table import is_chunk


@dataclass(frozen=True, slots=True)
class Sync:
    """Iterate ``chunks``, then call ``close``, also if the iteration raises.

    Call ``close`` in the thread that iterates: a running generator cannot be closed by another one.

    :param source: The return value of the provider, unless that is ``chunks``.
    """

    chunks: Iterator[t.Any]
    close: Callable[[], object] = lambda: None
    source: t.Any = None


@dataclass(frozen=True, slots=True)
class Async:
    """The same for an event loop."""

    chunks: AsyncIterator[t.Any]
    aclose: Callable[[], Awaitable[object]]
    source: t.Any = None


@dataclass(frozen=True, slots=True)
class Deferred:
    """Await ``awaitable`` on an event loop, then call ``classify(value, awaited=True)``.

    :param close: Called if it is never awaited.
    """

    awaitable: Awaitable[t.Any]
    close: Callable[[], object]


Result = Sync | Async | Deferred


def classify(result: t.Any, *, awaited: bool = False) -> Result:
    """Choose how to iterate the return value of a provider. Starts no request and reads nothing.

    A value that is not a stream (a string, an event, a complete or a raw response) becomes a stream of one chunk, and
    ``None`` an empty one. :class:`~flask_aistream.providers.table.Chunks` rejects unknown chunks.

    :param awaited: ``result`` was awaited. LiteLLM's streams have both kinds of iteration, but only the matching one
        works.
    """
    if type(result) is types.GeneratorType:  # Most are; this saves the tests for everything else.
        return Sync(result, closer(result), result)
    if result is None:
        return Sync(iter(()))
    if is_raw(result):
        if is_async(result):
            return Async(only(result), async_closer(*closable(result)), result)
        return Sync(iter((result,)), closer(*closable(result)), result)
    if hasattr(result, "__await__"):
        return Deferred(result, closer(result))
    can_sync, can_async = hasattr(result, "__next__"), hasattr(result, "__anext__")
    if can_async and (awaited or not can_sync):
        return Async(result, async_closer(result), result)
    if can_sync:
        return Sync(result, closer(result), result)
    if is_chunk(result):
        return Sync(iter((result,)))
    return opened(result) or Sync(iter((result,)))


ALWAYS_ENDED = frozenset(
    ("anthropic", "google", "groq", "mistralai", "ollama", "openai", "together")
)
"""Packages whose streams have an end marker with every model."""


def stream_of(result: Sync | Async, chunk: t.Any) -> t.Any:
    """The SDK's stream that yielded ``chunk``: the provider returned it, or reads it with ``yield from``.

    :returns: ``None`` for a loop in the provider, which may omit chunks and the end marker.
    """
    source = result.chunks if isinstance(result.chunks, types.GeneratorType) else result.source
    package = package_of(chunk)
    while isinstance(source, types.GeneratorType):
        if fits(source, package):
            return source
        source = source.gi_yieldfrom
    return source if source is not None and fits(source, package) else None


def is_sdk_stream(source: t.Any) -> bool:
    """Whether ``source`` is a stream of an SDK whose answers always have an end marker."""
    package = package_of_stream(source)
    if isinstance(source, types.GeneratorType | types.AsyncGeneratorType):
        return package in ("google", "ollama")
    return package in ALWAYS_ENDED and (
        is_stainless(source) or ".lib.streaming" in source.__class__.__module__
    )


def package_of_stream(source: t.Any) -> str:
    return module_of_stream(source).partition(".")[0]


def fits(source: t.Any, package: str) -> bool:
    """Whether ``source`` may have yielded chunks of a package."""
    if not package:
        return is_stainless(source)
    own = package_of_stream(source)
    return own == package or (package == "langgraph" and own == "langchain_core")


def module_of_stream(source: t.Any) -> str:
    frame = getattr(source, "gi_frame", None) or getattr(source, "ag_frame", None)
    module = source.__class__.__module__ if frame is None else frame.f_globals.get("__name__", "")
    return str(module)


def is_stainless(source: t.Any) -> bool:
    """Whether ``source`` is a stream of one of the SDKs that Stainless generates."""
    kind = source.__class__.__name__
    return module_of_stream(source).endswith("._streaming") or (
        kind in ("Stream", "AsyncStream") and hasattr(source, "response")
    )


def package_of(chunk: t.Any) -> str:
    """The package of a chunk's class; ``langgraph`` for dicts and tuples of LangChain and LangGraph; ``""`` for a JSON
    value that is not an object."""
    if isinstance(chunk, dict | tuple):
        return "langgraph"
    if type(chunk) in NO_OBJECTS:
        return ""
    return str(chunk.__class__.__module__).partition(".")[0]


async def only(value: t.Any) -> AsyncIterator[t.Any]:
    yield value


def closable(response: t.Any) -> tuple[t.Any, ...]:
    """An unread raw response must be closed; a context manager whose request was not sent must not."""
    return (response,) if hasattr(response, "close") else ()


def opened(result: t.Any) -> Result | None:
    """Open an iterable, or a context manager of one; ``None`` for anything else."""
    if hasattr(result, "__aiter__"):
        chunks = result.__aiter__()
        return Async(chunks, async_closer(chunks, result), result)
    if hasattr(result, "__iter__"):
        items = iter(result)
        return Sync(items, closer(items, result), result)
    if hasattr(result, "__aenter__"):
        inside = aentered(result)
        return Async(inside, inside.aclose, result)
    if hasattr(result, "__enter__"):
        within = entered(result)
        return Sync(within, within.close, result)
    return None


def entered(manager: t.Any) -> t.Generator[t.Any, None, None]:
    """Iterate the stream that a context manager opens, such as Anthropic's ``messages.stream(…)``."""
    with manager as stream:
        if is_raw(stream):
            yield stream
        else:
            yield from stream


async def aentered(manager: t.Any) -> t.AsyncGenerator[t.Any, None]:
    async with manager as stream:
        if is_raw(stream):
            yield stream
        else:
            async for chunk in stream:
                yield chunk


def closer(*opened: t.Any) -> Callable[[], object]:
    """Return a function that closes each of ``opened`` that has ``close``, and the iterators that they are reading.

    It closes all of them, outermost first, also if one raises.
    """

    def close() -> None:
        inner = [it for one in opened for it in reading(one)]
        if len(opened) == 1 and not inner:  # The common case.
            if hasattr(opened[0], "close"):
                opened[0].close()
            return
        with ExitStack() as closing:
            for one in reversed((*opened, *inner)):
                if hasattr(one, "close"):
                    closing.callback(one.close)

    return close


def async_closer(*opened: t.Any) -> Callable[[], Awaitable[object]]:
    """The same on an event loop: ``aclose`` of generators, ``close`` of SDKs' streams, which may be awaitable."""

    async def aclose() -> None:
        inner = [it for one in opened for it in reading(one, ASYNC)]
        async with AsyncExitStack() as closing:
            for one in reversed((*opened, *inner)):
                closing.push_async_callback(aclose_one, one)

    return aclose


async def aclose_one(one: t.Any) -> None:
    close = getattr(one, "aclose", None) or getattr(one, "close", None)
    waits = close() if close else None
    if waits is not None and hasattr(waits, "__await__"):
        await waits
