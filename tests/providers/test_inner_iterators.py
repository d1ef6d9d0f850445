"""Closing a provider's generator also closes the streams it is reading, at once."""

from __future__ import annotations

import asyncio
import gc
import typing as t
from pathlib import Path

import pytest

from flask_aistream.providers.inner_iterators import reading
from flask_aistream.providers.results import Async
from flask_aistream.providers.results import Sync
from flask_aistream.providers.results import classify


class Stream:
    """Refers to itself, as streams of OpenAI's and Anthropic's SDKs do."""

    def __init__(self) -> None:
        self.closed = False
        self._iterator = self._read()

    def __iter__(self) -> t.Iterator[str]:
        for item in self._iterator:  # noqa: UP028 – as they write it.
            yield item

    def _read(self) -> t.Iterator[str]:
        try:
            yield from "abc"
        finally:
            self.closed = True


class AsyncStream:
    def __init__(self) -> None:
        self.closed = False
        self._iterator = self._read()

    async def __aiter__(self) -> t.AsyncIterator[str]:
        async for item in self._iterator:
            yield item

    async def _read(self) -> t.AsyncIterator[str]:
        try:
            for letter in "abc":
                yield letter
        finally:
            self.closed = True


def looping(stream: t.Any) -> t.Iterator[str]:
    for chunk in stream:  # noqa: UP028
        yield chunk


def delegating(stream: t.Any) -> t.Iterator[str]:
    yield from stream


def filtering(stream: t.Any) -> t.Iterator[str]:
    yield from (chunk for chunk in stream if chunk)


def naming(stream: t.Any) -> t.Iterator[str]:
    chunks = iter(stream)
    for chunk in chunks:  # noqa: UP028
        yield chunk


def with_a_closure(stream: t.Any) -> t.Iterator[str]:
    chunks: t.Iterator[str] = iter(stream)

    def more() -> t.Iterator[str]:
        return chunks

    for chunk in chunks:  # noqa: UP028
        yield chunk
    more()


def in_parts(stream: t.Any) -> t.Iterator[str]:
    yield from looping(stream)


async def alooping(stream: t.Any) -> t.AsyncIterator[str]:
    async for chunk in stream:
        yield chunk


@pytest.fixture(autouse=True)
def nobody_collects() -> t.Iterator[None]:
    gc.disable()
    yield
    gc.enable()


PROVIDERS = [looping, delegating, filtering, naming, with_a_closure, in_parts]


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.__name__)
def test_a_stream_is_closed_with_the_generator_that_reads_it(
    provider: t.Callable[[t.Any], t.Iterator[str]],
) -> None:
    stream = Stream()
    reader = classify(provider(stream))
    assert isinstance(reader, Sync)
    assert next(reader.chunks) == "a"

    reader.close()

    assert stream.closed


def test_a_stream_is_closed_even_if_the_provider_fails_to_clean_up() -> None:
    def provider(stream: Stream) -> t.Iterator[str]:
        try:
            yield from stream
        finally:
            raise RuntimeError("at the end")

    stream = Stream()
    reader = classify(provider(stream))
    assert isinstance(reader, Sync)
    next(reader.chunks)

    with pytest.raises(RuntimeError, match="at the end"):
        reader.close()

    assert stream.closed


class Wrapper:
    """Has no way to be closed, as LiteLLM's streams where they are not awaited."""

    def __init__(self, stream: Stream) -> None:
        self.completion_stream = iter(stream)

    def __iter__(self) -> Wrapper:
        return self

    def __next__(self) -> str:
        return next(self.completion_stream)


@pytest.mark.parametrize("provider", [lambda it: it, looping, delegating])
def test_a_stream_is_closed_that_something_unclosable_wraps(
    provider: t.Callable[[t.Any], t.Iterator[str]],
) -> None:
    stream = Stream()
    reader = classify(provider(Wrapper(stream)))
    assert isinstance(reader, Sync)
    next(reader.chunks)

    reader.close()

    assert stream.closed


def test_files_and_cursors_that_a_provider_reads_stay_open(tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("a\nb\nc\n")
    with (tmp_path / "lines").open() as file:
        reader = classify(looping(file))
        assert isinstance(reader, Sync)
        next(reader.chunks)
        reader.close()

        assert next(file) == "b\n"


def test_an_async_stream_is_closed_with_the_generator_that_reads_it() -> None:
    async def leave_early(stream: AsyncStream) -> None:
        reader = classify(alooping(stream))
        assert isinstance(reader, Async)
        assert await reader.chunks.__anext__() == "a"
        await reader.aclose()

    stream = AsyncStream()
    asyncio.run(leave_early(stream))

    assert stream.closed


def test_what_a_provider_only_has_a_name_for_stays_open() -> None:
    shared = (number for number in range(9))

    def provider(ids: t.Iterator[int]) -> t.Iterator[str]:
        for letter in "abc":
            yield f"{letter}{next(ids)}"

    reader = classify(provider(shared))
    assert isinstance(reader, Sync)
    assert next(reader.chunks) == "a0"
    reader.close()

    assert next(shared) == 1


@pytest.mark.parametrize("other", [None, "text", [1], iter("ab"), looping(Stream()), object()])
def test_what_reads_nothing_is_no_trouble(other: object) -> None:
    assert reading(other) == []


def test_a_generator_that_has_ended_reads_nothing() -> None:
    ended = looping(Stream())
    assert list(ended) == ["a", "b", "c"]

    assert reading(ended) == []
