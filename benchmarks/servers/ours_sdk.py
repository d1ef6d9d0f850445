"""This project over the SDKs: parsed chunks, raw responses, and raw responses over the lean transport."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator

from anthropic import Anthropic
from flask import Flask
from openai import OpenAI

from benchmarks.servers import models
from benchmarks.servers.tokens import Plan
from benchmarks.servers.tokens import provider
from flask_aistream import AIStream
from flask_aistream import ChatRequest
from flask_aistream.upstream import http_client

ai = AIStream()

CLIENTS: dict[str, tuple[t.Any, t.Any]] = {
    "sdk": (OpenAI(**models.OPENAI), Anthropic(**models.ANTHROPIC)),
    "lean": (
        OpenAI(**models.OPENAI, http_client=http_client(connections=models.CONNECTIONS)),
        Anthropic(**models.ANTHROPIC, http_client=http_client(connections=models.CONNECTIONS)),
    ),
}


@ai.provider
def parsed(request: ChatRequest) -> t.Any:
    openai, anthropic = CLIENTS["sdk"]
    ask = models.request_of(request.params)
    if request.params.get("wire") == "anthropic":
        return anthropic.messages.create(**ask)
    return openai.chat.completions.create(**ask)


@ai.provider
def raw(request: ChatRequest) -> t.Any:
    return raw_response("sdk", request)


@ai.provider
def lean(request: ChatRequest) -> t.Any:
    return raw_response("lean", request)


@ai.provider
def alone(request: ChatRequest) -> Iterator[str]:
    """Without any upstream: the cost of this project alone."""
    return provider(Plan.of(request.params))


def raw_response(transport: str, request: ChatRequest) -> t.Any:
    openai, anthropic = CLIENTS[transport]
    ask = models.request_of(request.params)
    if request.params.get("wire") == "anthropic":
        return anthropic.messages.with_streaming_response.create(**ask)
    return openai.chat.completions.with_streaming_response.create(**ask)


app = Flask(__name__)
# Crowds of anonymous readers are measured.
app.config["AISTREAM_MAX_ANONYMOUS_RUNS"] = None
app.register_blueprint(ai, url_prefix="/ai")
