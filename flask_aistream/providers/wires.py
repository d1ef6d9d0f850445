"""The wires that are recognised in plain JSON, by the keys of an object."""

from __future__ import annotations

import typing as t
from collections.abc import Callable

from flask_aistream.providers.accounting import Accounting
from flask_aistream.providers.anthropic import AnthropicAdapter
from flask_aistream.providers.base import WireAdapter
from flask_aistream.providers.failure import raise_if_error
from flask_aistream.providers.google import GoogleAdapter
from flask_aistream.providers.ollama import OllamaAdapter
from flask_aistream.providers.openai_chat import ChatAdapter
from flask_aistream.providers.openai_responses import ResponsesAdapter

WireFactory = Callable[[Accounting], WireAdapter]
Json = dict[t.Any, t.Any]

# The first row that fits counts.
SHAPES: tuple[tuple[Callable[[Json], bool], WireFactory], ...] = (
    (lambda it: "done" in it and ("message" in it or "response" in it), OllamaAdapter),
    (lambda it: "choices" in it, ChatAdapter),
    (lambda it: str(it.get("object")).startswith(("chat.completion", "text_comp")), ChatAdapter),
    (lambda it: it.get("object") == "response", ResponsesAdapter),
    (lambda it: str(it.get("type")).startswith("response."), ResponsesAdapter),
    (lambda it: str(it.get("type")).startswith(("message", "content_block")), AnthropicAdapter),
    (
        lambda it: bool(it.keys() & {"candidates", "usageMetadata", "promptFeedback"}),
        GoogleAdapter,
    ),
)


def wire_of(value: Json) -> WireFactory | None:
    """The adapter for the wire that ``value`` belongs to; ``None`` if its keys are of no wire.

    :raises ProviderError: It is an error object.
    """
    for fits, factory in SHAPES:
        if fits(value):
            return factory
    raise_if_error(value)
    return None
