"""SDKs whose HTTP client answers from memory: the bytes of a service, without a server."""

from __future__ import annotations

import functools
import importlib
import typing as t

from tests.upstream.scripted import Script

MESSAGES: list[t.Any] = [{"role": "user", "content": "Say it."}]
ASKED: dict[str, dict[str, t.Any]] = {
    "openai-chat": {"model": "m", "messages": MESSAGES, "stream": True},
    "openai-responses": {"model": "m", "input": "Say it.", "stream": True},
    "anthropic": {"model": "m", "messages": MESSAGES, "max_tokens": 9, "stream": True},
    "gemini": {"model": "m", "contents": "Say it."},
    "ollama": {"model": "m", "messages": MESSAGES, "stream": True},
}


class Wire:
    """What every client answers with.

    :ivar script: The answer to the next requests.
    :ivar open: Bodies that were begun and not closed.
    """

    def __init__(self) -> None:
        self.script = Script([])
        self.open = 0


WIRE = Wire()


@functools.cache
def transport_of(library: str, *, asynchronous: bool) -> t.Any:
    """A transport of ``httpx`` or ``httpx2`` over :data:`WIRE`."""
    httpx = importlib.import_module(library)

    class Body(httpx.AsyncByteStream if asynchronous else httpx.SyncByteStream):  # type: ignore[misc]
        def __init__(self, parts: t.Any) -> None:
            self._parts = parts
            self._open = False

        def _played(self) -> t.Iterator[bytes]:
            WIRE.open += not self._open
            self._open = True
            for part in self._parts:
                if isinstance(part, bytes):
                    yield part
                else:
                    part()

        def __iter__(self) -> t.Iterator[bytes]:
            return self._played()

        async def __aiter__(self) -> t.AsyncIterator[bytes]:
            for part in self._played():
                yield part

        def _close(self) -> None:
            WIRE.open -= self._open
            self._open = False

        def close(self) -> None:
            self._close()

        async def aclose(self) -> None:
            self._close()

    def answer() -> t.Any:
        script = WIRE.script
        headers = {"Content-Type": script.content_type, **script.headers}
        if not script.content_type:
            del headers["Content-Type"]
        return httpx.Response(script.status, headers=headers, stream=Body(script.parts))

    class Transport(httpx.AsyncBaseTransport if asynchronous else httpx.BaseTransport):  # type: ignore[misc]
        def handle_request(self, request: t.Any) -> t.Any:
            request.read()
            return answer()

        async def handle_async_request(self, request: t.Any) -> t.Any:
            await request.aread()
            return answer()

    return Transport()


@functools.cache
def http_client(library: str, *, asynchronous: bool) -> t.Any:
    httpx = importlib.import_module(library)
    kind = httpx.AsyncClient if asynchronous else httpx.Client
    return kind(transport=transport_of(library, asynchronous=asynchronous))


@functools.cache
def endpoint(wire: str, *, asynchronous: bool = False) -> t.Any:
    """Where ``create`` (or the like) asks the model of a wire."""
    if wire == "gemini":
        from google import genai

        options = {
            "base_url": "http://model",
            "httpx_client": http_client("httpx2", asynchronous=False),
            "httpx_async_client": http_client("httpx2", asynchronous=True),
        }
        client = genai.Client(api_key="none", http_options=t.cast(t.Any, options))
        return client.aio.models if asynchronous else client.models
    if wire == "ollama":
        import httpx
        import ollama

        made = (ollama.AsyncClient if asynchronous else ollama.Client)(host="http://model")
        base_url = "http://model"
        transport = transport_of("httpx", asynchronous=asynchronous)
        kind = httpx.AsyncClient if asynchronous else httpx.Client
        made._client = kind(transport=transport, base_url=base_url)
        return made
    sdk = importlib.import_module("anthropic" if wire == "anthropic" else "openai")
    name = "Anthropic" if wire == "anthropic" else "OpenAI"
    kind = getattr(sdk, f"Async{name}" if asynchronous else name)
    made = kind(
        base_url="http://model",
        api_key="none",
        max_retries=0,
        http_client=http_client("httpx2", asynchronous=asynchronous),
    )
    if wire == "anthropic":
        return made.messages
    return made.responses if wire == "openai-responses" else made.chat.completions


def raw(wire: str) -> t.Any:
    if wire in ("gemini", "ollama"):
        return http_client("httpx2", asynchronous=False).stream("POST", "http://model/", json={})
    return endpoint(wire).with_streaming_response.create(**ASKED[wire])


def raw_async(wire: str) -> t.Any:
    if wire in ("gemini", "ollama"):
        return http_client("httpx2", asynchronous=True).stream("POST", "http://model/", json={})
    return endpoint(wire, asynchronous=True).with_streaming_response.create(**ASKED[wire])


def parsed(wire: str, *, asynchronous: bool = False) -> t.Any:
    asked, made = ASKED[wire], endpoint(wire, asynchronous=asynchronous)
    if wire == "gemini":
        return made.generate_content_stream(**asked)
    if wire == "ollama":
        return made.chat(**asked)
    return made.create(**asked)
