"""Anthropic's messages, through the ``anthropic`` SDK."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from collections.abc import Sequence
from urllib.parse import urlsplit

import anthropic

from example_app.models.base import Model
from example_app.models.base import names_in
from flask_aistream import ChatRequest
from flask_aistream.core.request import Message
from flask_aistream.core.request import text_of
from flask_aistream.upstream import http_client

DEFAULT = "claude-haiku-4-5"
MAX_TOKENS = 4096  # The API wants a bound; this one is a long answer.


def models(environ: Mapping[str, str]) -> list[Model]:
    client = anthropic.Anthropic(
        api_key=environ.get("ANTHROPIC_API_KEY") or "none",
        base_url=environ.get("ANTHROPIC_BASE_URL") or None,
        http_client=http_client(sdk="anthropic"),
    )
    return [make(client, name) for name in names_in(environ.get("ANTHROPIC_MODEL"), DEFAULT)]


def make(client: anthropic.Anthropic, name: str) -> Model:
    messages = client.messages.with_streaming_response

    def answer(request: ChatRequest) -> t.Any:
        system, turns = split(request.messages)
        return messages.create(
            model=name,
            max_tokens=MAX_TOKENS,
            system=system,
            messages=t.cast(t.Any, turns),
            stream=True,
        )

    return Model(name, f"{name} at {urlsplit(str(client.base_url)).hostname}", answer)


def split(messages: Sequence[Message]) -> tuple[str, list[Message]]:
    """The system text, which Anthropic takes apart from the turns, and the turns."""
    system = [text_of(m.get("content")) for m in messages if m["role"] == "system"]
    turns = [
        Message(role=m["role"], content=text_of(m.get("content")))
        for m in messages
        if m["role"] in ("user", "assistant")
    ]
    # An answer that was stopped before its first word is an empty turn, which the API refuses.
    return "\n\n".join(system), [turn for turn in turns if turn["content"]]
