"""An OpenAI client whose responses are made in this process, chunk by chunk, without a socket."""

from __future__ import annotations

import itertools
import json
import typing as t
from collections.abc import Iterator

from openai import OpenAI

from benchmarks.servers import models
from benchmarks.servers.tokens import TOKENS
from flask_aistream.upstream.client import any_library

httpx = any_library()


def openai() -> OpenAI:
    client = httpx.Client(transport=httpx.MockTransport(answer))
    return OpenAI(**models.OPENAI, http_client=client)


def answer(request: t.Any) -> t.Any:
    """As many tokens as ``max_tokens`` asks for."""
    count = json.loads(request.content)["max_tokens"]
    return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, content=chunks(count))


def chunks(count: int) -> Iterator[bytes]:
    yield from itertools.islice(itertools.cycle(CONTENT), count)
    yield END


def chunk(delta: dict[str, str], reason: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1764460800,
        "model": "model-1",
        "system_fingerprint": "fp_1",
        "choices": [choice],
    }
    return b"data: %b\n\n" % json.dumps(body).encode()


CONTENT = [chunk({"content": token}, None) for token in TOKENS]
END = chunk({}, "stop") + b"data: [DONE]\n\n"
