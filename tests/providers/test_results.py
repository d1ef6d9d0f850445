"""Whatever a provider returns is read in the one way that works, and closed by whoever opened it."""

from __future__ import annotations

import asyncio
import typing as t

import pytest

from flask_aistream.core.events import Reasoning
from flask_aistream.errors import ChunkUnknown
from flask_aistream.providers.results import Async
from flask_aistream.providers.results import Deferred
from flask_aistream.providers.results import Sync
from flask_aistream.providers.results import classify
from tests.providers.collect import Drained
from tests.providers.collect import drain


def generator() -> t.Iterator[str]:
    yield "a"
    yield "b"


async def agenerator() -> t.AsyncIterator[str]:
    yield "a"
    yield "b"


async def returns(value: t.Any) -> t.Any:
    return value


class Iterable:
    def __iter__(self) -> t.Iterator[str]:
        return iter(["a", "b"])


class AsyncIterable:
    def __aiter__(self) -> t.AsyncIterator[str]:
        return agenerator()


class Both:
    """LiteLLM's stream: has both kinds of iteration, of which one works."""

    def __init__(self, works: str) -> None:
        self.works = works
        self.left = ["b", "a"]

    def __iter__(self) -> Both:
        return self

    def __aiter__(self) -> Both:
        return self

    def __next__(self) -> str:
        assert self.works == "sync"
        if not self.left:
            raise StopIteration
        return self.left.pop()

    async def __anext__(self) -> str:
        assert self.works == "async"
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop()


class Manager:
    """Anthropic's ``messages.stream(…)``: what it opens can be iterated, itself cannot."""

    left = False

    def __enter__(self) -> t.Iterator[str]:
        return iter(["a", "b"])

    def __exit__(self, *error: object) -> None:
        self.left = True


class AsyncManager:
    left = False

    async def __aenter__(self) -> t.AsyncIterator[str]:
        return agenerator()

    async def __aexit__(self, *error: object) -> None:
        self.left = True


class Stream(Iterable):
    """An SDK's stream: to be closed, whether or not it was read."""

    closed = 0

    def close(self) -> None:
        self.closed += 1


class AsyncStream(AsyncIterable):
    """An SDK's async stream: ``close`` is a coroutine function, and not called ``aclose``."""

    closed = 0

    async def close(self) -> None:
        self.closed += 1


RESULTS = [
    pytest.param(lambda: "ab", id="a string"),
    pytest.param(generator, id="a generator"),
    pytest.param(lambda: ["a", "b"], id="a list"),
    pytest.param(lambda: ("a", "b"), id="a tuple"),
    pytest.param(lambda: map(str, "ab"), id="an iterator"),
    pytest.param(Iterable, id="an iterable"),
    pytest.param(Stream, id="a stream"),
    pytest.param(Manager, id="a context manager of a stream"),
    pytest.param(lambda: Both("sync"), id="a stream that could be async"),
    pytest.param(agenerator, id="an async generator"),
    pytest.param(AsyncIterable, id="an async iterable"),
    pytest.param(AsyncStream, id="an async stream"),
    pytest.param(AsyncManager, id="an async context manager of a stream"),
    pytest.param(lambda: returns("ab"), id="a coroutine that returns a string"),
    pytest.param(lambda: returns(generator()), id="a coroutine that returns a generator"),
    pytest.param(lambda: returns(agenerator()), id="a coroutine that returns an async generator"),
    pytest.param(lambda: returns(returns("ab")), id="a coroutine that returns a coroutine"),
    pytest.param(lambda: returns(Both("async")), id="a coroutine that returns a two-way stream"),
]


@pytest.mark.parametrize("result", RESULTS)
def test_a_provider_may_return(result: t.Callable[[], t.Any]) -> None:
    drained = drain(result())

    assert "".join(map(str, drained.events)) == "ab"


def test_nothing_is_an_empty_answer() -> None:
    assert drain(None).events == []
    assert drain(returns(None)).events == []


def test_an_event_is_an_answer() -> None:
    assert drain(Reasoning("Hm.")).events == [Reasoning("Hm.")]


@pytest.mark.parametrize("result", [7, b"bytes", ..., {"what": "is this"}], ids=repr)
def test_what_no_adapter_understands_is_refused_by_name(result: object) -> None:
    with pytest.raises(ChunkUnknown, match=type(result).__name__):
        drain(result)


def test_what_was_opened_is_closed() -> None:
    stream, manager = Stream(), Manager()
    astream, amanager = AsyncStream(), AsyncManager()

    for result in (stream, manager, astream, amanager):
        drain(result)

    assert (stream.closed, astream.closed) == (1, 1)
    assert manager.left
    assert amanager.left


def test_what_was_opened_is_closed_when_reading_stops_early() -> None:
    for result in (stream := Stream(), manager := Manager()):
        reader = classify(result)
        assert isinstance(reader, Sync)
        next(reader.chunks)
        reader.close()

    assert stream.closed == 1
    assert manager.left


def test_a_generator_is_closed_where_it_stands() -> None:
    steps = []

    def provider() -> t.Iterator[str]:
        try:
            yield "a"
        finally:
            steps.append("cleaned up")

    reader = classify(provider())
    assert isinstance(reader, Sync)
    next(reader.chunks)
    reader.close()

    assert steps == ["cleaned up"]


def test_async_streams_are_closed_early_too() -> None:
    async def leave_early(result: t.Any) -> None:
        reader = classify(result)
        assert isinstance(reader, Async)
        await reader.chunks.__anext__()
        await reader.aclose()

    stream, manager = AsyncStream(), AsyncManager()
    asyncio.run(leave_early(stream))
    asyncio.run(leave_early(manager))

    assert stream.closed == 1
    assert manager.left


def test_a_coroutine_that_is_not_wanted_any_more_is_closed() -> None:
    reader = classify(returns("late"))

    assert isinstance(reader, Deferred)
    reader.close()  # Else Python warns that it was never awaited, and warnings are errors here.


def test_classifying_starts_nothing() -> None:
    class Untouchable:
        def __iter__(self) -> t.Iterator[str]:
            return (pytest.fail("read") for _ in "x")

        def __enter__(self) -> object:
            pytest.fail("entered")

    classify(Untouchable())
    reader = classify(returns(pytest.fail))
    assert isinstance(reader, Deferred)
    reader.close()


def test_the_source_is_at_hand_for_whoever_must_break_into_a_read() -> None:
    stream, astream = Stream(), AsyncStream()
    reader, areader = classify(stream), classify(astream)

    assert isinstance(reader, Sync)
    assert isinstance(areader, Async)
    assert reader.source is stream
    assert areader.source is astream


def test_an_error_of_the_provider_passes_and_still_closes() -> None:
    class Breaks(Stream):
        def __iter__(self) -> t.Iterator[str]:
            yield "a"
            raise RuntimeError("broken")

    breaks, drained = Breaks(), Drained()
    with pytest.raises(RuntimeError, match="broken"):
        drain(breaks, drained)

    assert drained.events == ["a"]
    assert breaks.closed == 1
