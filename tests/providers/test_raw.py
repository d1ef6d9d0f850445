"""Raw responses of every HTTP client, and bodies that are no answer."""

from __future__ import annotations

import functools
import gzip
import http.client
import json
import threading
import typing as t
import zlib
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
import requests
import urllib3

from flask_aistream.core import events as ev
from flask_aistream.providers.accounting import Accounting
from flask_aistream.providers.raw import WAITED_SECONDS
from flask_aistream.providers.raw import read
from tests.doubles import ManualClock
from tests.providers.outcomes import outcome_of
from tests.upstream.clients import endpoint
from tests.upstream.clients import raw
from tests.upstream.memory import ASKED
from tests.upstream.scripted import Script
from tests.upstream.scripted import Scripted
from tests.upstream.scripted import event_stream

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def chunk(content: str | None = None, finish: str | None = None) -> dict[str, t.Any]:
    delta = {} if content is None else {"content": content}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "choices": [choice]}


HELLO = event_stream([chunk("Hel"), chunk("lo"), chunk(None, "stop")], done=True)
JSON = json.dumps(
    {
        "id": "c",
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello"},
                "finish_reason": "stop",
            }
        ],
    },
    indent=1,
).encode()
OLLAMA = [
    b'{"message":{"content":"Hel"},"done":false}\n{"message":{"con',
    b'tent":"lo"},"done":false}\n',
    b'{"message":{"content":""},"done":true,"done_reason":"stop"}',
]
GEMINI = event_stream(
    [
        {"candidates": [{"content": {"parts": [{"text": "Hel"}]}}]},
        {
            "candidates": [{"content": {"parts": [{"text": "lo"}]}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2},
        },
    ],
    done=False,
)
ANSWERS = {
    "event stream": Script(HELLO),
    "cut anywhere": Script([bytes([byte]) for byte in b"".join(HELLO)]),
    "named as text": Script(HELLO, "text/plain"),
    "lines of JSON": Script(OLLAMA, "application/x-ndjson"),
    "Gemini": Script(GEMINI),
    "Gemini's list": Script(
        [json.dumps([json.loads(part[6:]) for part in GEMINI], indent=2).encode()],
        "application/json",
    ),
    "JSON": Script([JSON], "application/json", length=True),
    "BOM": Script([b"\xef\xbb", b"\xbf", *HELLO]),
    "no last blank line": Script([*HELLO[:-1], b"data: [DONE]"]),
}


def with_httpx(url: str) -> t.Any:
    with httpx.Client() as client, client.stream("POST", url, json={}) as response:
        yield response


async def with_httpx_async(url: str) -> t.AsyncIterator[t.Any]:
    async with httpx.AsyncClient() as client, client.stream("POST", url, json={}) as response:
        yield response


def with_http_client(url: str) -> t.Any:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    connection.request("POST", "/", b"{}")
    return connection.getresponse()


async def with_aiohttp(url: str) -> t.AsyncIterator[t.Any]:
    import aiohttp

    async with aiohttp.ClientSession() as session:
        yield session.post(url, json={})


CLIENTS: dict[str, t.Any] = {
    "httpx, returned": lambda url: httpx.Client().stream("POST", url, json={}),
    "httpx, yielded": with_httpx,
    "httpx, async": with_httpx_async,
    "httpx, read": lambda url: httpx.post(url, json={}),
    "requests": lambda url: requests.post(url, json={}, stream=True),
    "requests, read": lambda url: requests.post(url, json={}),
    "urllib3": lambda url: urllib3.request("POST", url, body=b"{}", preload_content=False),
    "http.client": with_http_client,
    "openai": lambda url: raw("openai-chat", url),
    "openai, with_raw_response": lambda url: endpoint("openai-chat", url).with_raw_response.create(
        **ASKED["openai-chat"]
    ),
    "aiohttp": with_aiohttp,
}


def ask(client: str, url: str) -> t.Any:
    if client == "aiohttp":
        pytest.importorskip("aiohttp")
    make = CLIENTS[client]
    if client.endswith("async") or client == "aiohttp":

        async def provider(request: t.Any) -> t.AsyncIterator[t.Any]:
            async for response in make(url):
                yield response

        return outcome_of(provider)
    return outcome_of(lambda request: make(url))


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_raw_response_is_an_answer(client: str, answer: str) -> None:
    with Scripted(ANSWERS[answer]) as server:
        outcome = ask(client, server.url)

    assert (outcome.fold.text, outcome.terminal) == ("Hello", ev.Finished("stop"))


@pytest.mark.parametrize("client", [name for name in CLIENTS if name != "http.client"])
def test_a_compressed_answer_is_decompressed_by_its_client(client: str) -> None:
    packed = zlib.compressobj(wbits=31)
    parts = [packed.compress(part) + packed.flush(zlib.Z_SYNC_FLUSH) for part in HELLO]
    with Scripted(Script([*parts, packed.flush()], headers={"Content-Encoding": "gzip"})) as server:
        outcome = ask(client, server.url)

    assert (outcome.fold.text, outcome.terminal) == ("Hello", ev.Finished("stop"))


LINE = b"x" * 65536
BAD: dict[str, tuple[Script, str]] = {
    "a page": (Script([b"<!DOCTYPE html><h1>Bad gateway</h1>"], "text/html"), "upstream_invalid"),
    "a page as an event stream": (Script([b"<html>"]), "upstream_invalid"),
    "an error in a 200": (
        Script([b'{"error": {"message": "secret", "type": "server_error"}}'], "application/json"),
        "upstream_error",
    ),
    "an error in a 200 event stream": (
        Script([b'{"error": {"message": "secret"}}']),
        "upstream_error",
    ),
    "an error event": (Script([b"event: error\ndata: {}\n\n"]), "upstream_error"),
    "overloaded in the middle": (
        Script(
            event_stream(
                [chunk("a"), {"type": "error", "error": {"type": "overloaded_error"}}], False
            )
        ),
        "upstream_unavailable",
    ),
    "detail": (Script([b'{"detail": "Not Found"}'], "application/json"), "upstream_error"),
    "an endless line": (Script([b"data: ", *[LINE] * 400]), "upstream_invalid"),
    "an endless line of JSON": (
        Script([b'{"a": "', *[LINE] * 400], "application/x-ndjson"),
        "upstream_invalid",
    ),
    "100 MB in one event": (Script([b"data: ", *[LINE] * 1600, b"\n\n"]), "upstream_invalid"),
    "only space": (Script([b" " * 65536] * 3, "text/plain"), "upstream_invalid"),
    "invalid UTF-8": (Script([b"data: \xff\xfe\n\n", b"\xff\xff"]), "upstream_invalid"),
    "nothing": (Script([]), "upstream_incomplete"),
    "only pings": (Script([b": ping\n\n"] * 3), "upstream_incomplete"),
    "unknown JSON": (Script([b'{"hello": 1}\n'], "application/json"), "upstream_invalid"),
    "deep JSON": (Script([b"[" * 100000], "application/json"), "upstream_invalid"),
    "gzip garbage": (
        Script([b"\x1f\x8bgarbage"], headers={"Content-Encoding": "gzip"}),
        "upstream_invalid",
    ),
    "a redirect": (
        Script([b""], status=302, headers={"Location": "http://127.0.0.1:9/"}),
        "upstream_invalid",
    ),
    "401": (Script([b"{}"], status=401), "upstream_auth"),
    "429": (Script([b"{}"], status=429, headers={"Retry-After": "7"}), "upstream_rate_limited"),
    "context length": (
        Script(
            [b'{"error": {"code": "context_length_exceeded", "message": "secret"}}'], status=400
        ),
        "context_too_long",
    ),
    "content": (
        Script([b'{"error": {"code": "content_filter", "message": "secret"}}'], status=400),
        "content_refused",
    ),
    "400": (Script([b'{"error": {"message": "secret"}}'], status=400), "upstream_error"),
    "500": (Script([b"<html>secret"], "text/html", status=500), "upstream_unavailable"),
    "529": (Script([b"{}"], status=529), "upstream_unavailable"),
}


@pytest.mark.parametrize("body", BAD)
@pytest.mark.parametrize("client", ["httpx, yielded", "urllib3", "http.client", "httpx, async"])
def test_what_is_no_answer_is_a_failure_with_a_code(client: str, body: str) -> None:
    script, code = BAD[body]
    with Scripted(script) as server:
        if client == "urllib3":
            make = functools.partial(urllib3.request, "POST", redirect=False, preload_content=False)
            outcome = outcome_of(lambda request: make(server.url, body=b"{}"))
        else:
            outcome = ask(client, server.url)

    assert outcome.code == code
    assert isinstance(outcome.terminal, ev.Failed)
    assert "secret" not in outcome.terminal.message
    if body == "429":
        assert outcome.terminal.retry_after == 7


SDK_FAILURES = {
    name: BAD[name] for name in ("401", "429", "context length", "content", "500", "529")
}


@pytest.mark.parametrize("body", SDK_FAILURES)
@pytest.mark.parametrize("way", ["raw", "parsed"])
@pytest.mark.parametrize("wire", ["openai-chat", "openai-responses", "anthropic"])
def test_an_error_status_that_an_sdk_raises_has_the_same_code(
    wire: str, way: str, body: str
) -> None:
    script, code = BAD[body]
    with Scripted(script) as server:
        made = endpoint(wire, server.url)
        made = made.with_streaming_response if way == "raw" else made
        outcome = outcome_of(lambda request: made.create(**ASKED[wire]))

    assert outcome.code == code


def test_the_stream_ends_at_its_end_marker() -> None:
    """A server that closes late delays nobody."""
    late = threading.Event()
    with Scripted(Script([*HELLO, lambda: late.wait(5)])) as server:
        outcome = outcome_of(lambda request: raw("openai-chat", server.url))
        ended = not late.is_set()
        late.set()

    assert ended
    assert outcome.terminal == ev.Finished("stop")


ITERATED: list[t.Any] = [
    lambda url: (yield from raw("openai-chat", url)),
    lambda url: (yield from raw("openai-chat", url).__enter__()),
    lambda url: (yield from t.cast(t.Any, httpx.post(url))),
    lambda url: (yield from with_http_client(url)),
    lambda url: (yield from requests.post(url, stream=True)),
]


@pytest.mark.parametrize("iterate", ITERATED)
def test_iterating_a_raw_response_is_refused_with_the_cure(iterate: t.Any) -> None:
    with Scripted(Script(HELLO)) as server:
        outcome = outcome_of(lambda request: iterate(server.url))

    assert outcome.code == "chunk_unknown"
    assert isinstance(outcome.terminal, ev.Failed)
    assert "yield" in outcome.terminal.message
    assert "eturn" in outcome.terminal.message


def test_an_asynchronous_response_in_a_synchronous_provider_is_refused() -> None:
    def provider(request: t.Any) -> t.Any:
        yield endpoint(
            "openai-chat", "http://127.0.0.1:9", asynchronous=True
        ).with_streaming_response.create(**ASKED["openai-chat"])

    assert outcome_of(provider).code == "provider_error"


def test_garbage_after_gzip_is_not_needed() -> None:
    body = gzip.compress(b"".join(HELLO))
    with Scripted(Script([body], headers={"Content-Encoding": "gzip"}, length=True)) as server:
        outcome = ask("openai", server.url)
    assert outcome.fold.text == "Hello"


def test_only_a_part_that_had_to_be_waited_for_is_followed_by_a_pause() -> None:
    clock = ManualClock()
    paused_after: list[str] = []
    texts: list[str] = []

    def parts() -> Iterator[bytes]:
        for text, waited in (("a", 1.0), ("b", 0.0), ("c", 2 * WAITED_SECONDS), ("d", 0.0)):
            clock.advance(waited)
            yield from event_stream([chunk(text)], done=False)
        yield from event_stream([chunk(None, "stop")], done=True)

    response = httpx.Response(200, content=parts(), headers={"Content-Type": "text/event-stream"})
    events = read(
        response, Accounting(), lambda: None, [], lambda: paused_after.append(texts[-1]), clock
    )
    for event in events:
        if isinstance(event, str):
            texts.append(event)
    assert texts == ["a", "b", "c", "d"]
    assert paused_after == ["a", "c"]
