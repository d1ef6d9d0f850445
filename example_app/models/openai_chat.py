"""Any endpoint that speaks OpenAI's chat completions, through the ``openai`` SDK."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from urllib.parse import urlsplit

import openai

from example_app.models.base import Model
from example_app.models.base import names_in
from flask_aistream import ChatRequest
from flask_aistream.upstream import http_client

DEFAULT = "gpt-4o-mini"


def models(environ: Mapping[str, str]) -> list[Model]:
    # A local server needs no key, but the SDK refuses to start without one.
    client = openai.OpenAI(
        api_key=environ.get("OPENAI_API_KEY") or "none",
        base_url=environ.get("OPENAI_BASE_URL") or None,
        http_client=http_client(sdk="openai"),
    )
    return [make(client, name) for name in names_in(environ.get("OPENAI_MODEL"), DEFAULT)]


def make(client: openai.OpenAI, name: str) -> Model:
    completions = client.chat.completions.with_streaming_response

    def answer(request: ChatRequest) -> t.Any:
        return completions.create(
            model=name,
            messages=t.cast(t.Any, request.messages),
            stream=True,
            stream_options={"include_usage": True},
        )

    return Model(name, f"{name} at {urlsplit(str(client.base_url)).hostname}", answer)
