"""Anthropic's messages, through the ``anthropic`` SDK."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from urllib.parse import urlsplit

import anthropic

from example_app.models.base import Model
from flask_aistream import ChatRequest
from flask_aistream import ProviderError
from flask_aistream.core.request import Message
from flask_aistream.core.request import text_of

DEFAULT = "claude-haiku-4-5"
MAX_TOKENS = 4096  # The API wants a bound; this one is a long answer.


def model(environ: Mapping[str, str]) -> Model:
    name = environ.get("ANTHROPIC_MODEL") or DEFAULT
    client = anthropic.Anthropic(
        api_key=environ.get("ANTHROPIC_API_KEY") or "none",
        base_url=environ.get("ANTHROPIC_BASE_URL") or None,
    )

    def answer(request: ChatRequest) -> Iterator[t.Any]:
        system, turns = split(request.messages)
        try:
            yield from client.messages.create(
                model=name,
                max_tokens=MAX_TOKENS,
                system=system,
                messages=t.cast(t.Any, turns),
                stream=True,
            )
        except anthropic.APIStatusError as error:
            raise ProviderError("model_refused", refusal(name, error.status_code)) from error
        except anthropic.APIConnectionError as error:
            raise ProviderError("model_unreachable", UNREACHABLE) from error

    return Model(title=f"{name} at {urlsplit(str(client.base_url)).hostname}", answer=answer)


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


UNREACHABLE = "The model's service cannot be reached. Is ANTHROPIC_BASE_URL right?"


def refusal(name: str, status: int) -> str:
    """What a visitor may know; the SDK's own words, which may name keys, go to the log."""
    return (
        f"The model's service answered {status}. Is ANTHROPIC_API_KEY right, and is there a model {name}? "
        "ANTHROPIC_MODEL names another."
    )
