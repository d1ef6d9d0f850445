"""Read raw HTTP responses of a model's service, recognised by their class, without importing any HTTP library.

``openai`` and ``anthropic`` return them from ``with_streaming_response`` and ``with_raw_response``; responses of other
HTTP clients work, too. Decoding the body here costs a tenth of creating an SDK's object for each chunk.
"""

from __future__ import annotations

import contextlib
import functools
import typing as t
from collections.abc import AsyncIterator
from collections.abc import Callable
from collections.abc import Iterator

from flask_aistream.errors import ProviderError
from flask_aistream.providers.body import MAX_ERROR
from flask_aistream.providers.body import BodyReader
from flask_aistream.providers.failure import failure

if t.TYPE_CHECKING:
    from flask_aistream.core.events import Event
    from flask_aistream.providers.accounting import Accounting

READ_SIZE = 65536

WAITED_SECONDS = 0.001
"""Time of a read from which on its bytes had not arrived when it began."""

MANAGERS = {"ResponseContextManager", "AsyncResponseContextManager"}
SDK_RESPONSES = {
    "APIResponse",
    "AsyncAPIResponse",
    "BaseAPIResponse",
    "LegacyAPIResponse",
    "HttpxBinaryResponseContent",
}


class Response(t.NamedTuple):
    """
    :param chunks: The body's bytes as they arrive, decompressed; an async iterator of an async client.
    :param close: Closes the connection, or returns it to its pool if the body was read.
    """

    status: int
    headers: t.Any
    chunks: t.Any
    close: Callable[[], t.Any]


@functools.lru_cache(maxsize=256)
def kind_of(kind: type) -> str | None:
    """How to read responses of a class; ``None`` for any other class."""
    for base in kind.__mro__:
        root, _, rest = base.__module__.partition(".")
        name = base.__name__
        if rest in ("_response", "_legacy_response"):  # Every SDK that Stainless generates.
            if name in MANAGERS:
                return name
            if name in SDK_RESPONSES:
                return "sdk"
        elif root in ("httpx", "httpx2") and name == "Response":
            return "httpx"
        elif root == "requests" and name == "Response":
            return "requests"
        elif root == "urllib3" and name in ("BaseHTTPResponse", "HTTPResponse"):
            return "urllib3"
        elif root == "http" and name == "HTTPResponse":
            return "http.client"
        elif root == "aiohttp" and name == "ClientResponse":
            return "aiohttp"
        elif root == "aiohttp" and name.endswith("RequestContextManager"):
            return "aiohttp request"
    return None


def is_raw(value: t.Any) -> bool:
    """Whether ``value`` is a raw response, or a context manager that opens one."""
    return kind_of(value.__class__) is not None


def is_async(value: t.Any) -> bool:
    kind = kind_of(value.__class__)
    if kind in ("AsyncResponseContextManager", "aiohttp", "aiohttp request"):
        return True
    if kind == "sdk":
        value, kind = value.http_response, "httpx"
    if kind == "httpx":
        stream = getattr(value, "stream", None)
        return hasattr(stream, "__aiter__") and not hasattr(stream, "__iter__")
    return False


def read(
    value: t.Any,
    accounting: Accounting,
    ticks: Callable[[], object],
    unread: list[Response],
    pause: Callable[[], object] = lambda: None,
    clock: Callable[[], float] = lambda: 0.0,
) -> t.Generator[Event, None, None]:
    """Read and close a raw response, and yield its events.

    :param ticks: Called for every part of the body, also for one without an event (a ping).
    :param unread: Receives the response, still open, if bytes follow its end marker.
    :param pause: Called after each part that had not arrived when it was read. A process that is late lets further
        parts collect here, and then reads them without waiting for each.
    :raises ProviderError: The service reports an error, or the body is not an answer, or ends early.
    :raises Exception: Whatever the HTTP client raises.
    """
    response = opened(value)
    body = BodyReader(response.status, response.headers, accounting)
    try:
        if body.is_error:
            body.raise_for_status(collected(response.chunks))
        asked_at = clock()
        for data in response.chunks:
            waited = clock() - asked_at >= WAITED_SECONDS
            ticks()
            yield from body.feed(data)
            if body.complete:
                unread.append(response)
                return
            if waited:
                pause()
            asked_at = clock()
        yield from body.end()
    finally:
        if not unread:
            response.close()


async def aread(
    value: t.Any, accounting: Accounting, ticks: Callable[[], object], unread: list[Response]
) -> t.AsyncGenerator[Event, None]:
    """The same on an event loop."""
    response = await aopened(value)
    body = BodyReader(response.status, response.headers, accounting)
    try:
        if body.is_error:
            body.raise_for_status(await acollected(response.chunks))
        async for data in response.chunks:
            ticks()
            for event in body.feed(data):
                yield event
            if body.complete:
                unread.append(response)
                return
        for event in body.end():
            yield event
    finally:
        if not unread:
            await aclose(response)


def read_out(response: Response) -> None:
    """Read the bytes after an end marker (the last chunk, of length 0), so that the connection can be reused.

    May block until the server ends the body.
    """
    try:
        collected(response.chunks)
    finally:
        response.close()


async def aread_out(response: Response) -> None:
    try:
        await acollected(response.chunks)
    finally:
        await aclose(response)


async def aclose(response: Response) -> None:
    closing = response.close()
    if hasattr(closing, "__await__"):
        await closing


def opened(value: t.Any) -> Response:
    """Send the request, unless it was sent, and read the head of the response."""
    kind = kind_of(value.__class__)
    if is_async(value):
        raise TypeError(
            f"{type(value).__name__} is a response of an asynchronous client, which a synchronous "
            "provider cannot read. Write the provider as `async def`, or use the synchronous client."
        )
    if kind == "ResponseContextManager":
        response = opened(value.__enter__())
        return response._replace(close=lambda: value.__exit__(None, None, None))
    if kind == "sdk":
        value, kind = value.http_response, "httpx"
    if kind == "httpx":
        return Response(value.status_code, value.headers, value.iter_bytes(), value.close)
    if kind == "requests":
        read_before = getattr(value, "_content_consumed", False)
        chunks = iter((value.content,)) if read_before else urllib3_chunks(value.raw)
        return Response(value.status_code, value.headers, chunks, value.close)
    if kind == "urllib3":
        return Response(value.status, value.headers, urllib3_chunks(value), urllib3_closer(value))
    if value.headers.get("Content-Encoding", "identity").lower() != "identity":
        value.close()
        raise ProviderError(
            "upstream_invalid",
            "The model's service compressed its answer, which http.client does not undo.",
        )
    return Response(value.status, value.headers, http_client_chunks(value), value.close)


async def aopened(value: t.Any) -> Response:
    kind = kind_of(value.__class__)
    if kind in ("AsyncResponseContextManager", "aiohttp request"):
        response = await aopened(await value.__aenter__())
        return response._replace(close=lambda: value.__aexit__(None, None, None))
    if kind == "sdk":
        value, kind = value.http_response, "httpx"
    if kind == "httpx":
        return Response(value.status_code, value.headers, value.aiter_bytes(), value.aclose)
    return Response(value.status, value.headers, value.content.iter_any(), value.close)


def urllib3_chunks(response: t.Any) -> Iterator[bytes]:
    """Parts of the body as they arrive, decompressed. ``stream()`` would wait for a fixed size in a body without chunks."""
    if getattr(response, "chunked", False) or not hasattr(response, "read1"):
        yield from response.stream(READ_SIZE, decode_content=True)
        return
    while data := response.read1(READ_SIZE, decode_content=True):
        yield data


def urllib3_closer(response: t.Any) -> Callable[[], None]:
    def close() -> None:
        response.close()
        response.release_conn()

    return close


def http_client_chunks(response: t.Any) -> Iterator[bytes]:
    """
    :raises ProviderError: The socket fails. Its errors, unlike those of other HTTP clients, could be from any socket.
    """
    try:
        while data := response.read1(READ_SIZE):
            yield data
    except TimeoutError as error:
        raise failure("upstream_timeout") from error
    except OSError as error:
        raise failure("upstream_unavailable") from error


def collected(chunks: Iterator[bytes]) -> bytes:
    """The beginning of an error's body. Errors while reading are ignored, since the status is enough."""
    body = b""
    with contextlib.suppress(Exception):
        for data in chunks:
            body += data[:MAX_ERROR]
            if len(body) >= MAX_ERROR:
                break
    return body[:MAX_ERROR]


async def acollected(chunks: AsyncIterator[bytes]) -> bytes:
    body = b""
    with contextlib.suppress(Exception):
        async for data in chunks:
            body += data[:MAX_ERROR]
            if len(body) >= MAX_ERROR:
                break
    return body[:MAX_ERROR]
