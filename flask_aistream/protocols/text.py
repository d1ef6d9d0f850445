"""Plain text: only the text deltas, for ``curl``, ``useCompletion`` and ``useObject``.

The format cannot express an error: an incomplete answer ends with an aborted connection.
"""

from __future__ import annotations

import typing as t
from collections.abc import Sequence

from flask_aistream.core import events as ev
from flask_aistream.core.request import Message
from flask_aistream.core.unicode import SurrogateJoiner
from flask_aistream.protocols import ai_sdk
from flask_aistream.protocols.base import EncoderContext
from flask_aistream.protocols.base import ParsedRequest
from flask_aistream.protocols.base import WireProtocol
from flask_aistream.protocols.endings import with_reference
from flask_aistream.protocols.fields import missing_field
from flask_aistream.protocols.fields import other_fields
from flask_aistream.protocols.fields import text_field
from flask_aistream.protocols.wire import dumps

PLAIN = "text/plain; charset=utf-8"


class TextEncoder:
    """Stateful because a surrogate pair may be split between two calls."""

    def __init__(self, context: EncoderContext) -> None:
        self._surrogates = SurrogateJoiner()

    def encode(self, first: int, events: Sequence[ev.Event]) -> bytes:
        text = "".join([event for event in events if type(event) is str])
        ended = bool(events) and isinstance(events[-1], ev.TERMINAL)
        return self._surrogates.join(text, last=ended).encode()

    def gap(self, first: int) -> bytes:
        return b""


def read(body: dict[str, t.Any]) -> ParsedRequest:
    """An AI SDK body, or any other object as ``useObject`` submits it: its JSON becomes the prompt.

    A body of one JSON string arrives here as ``prompt``.

    :raises RequestError: The body is empty, or a field has the wrong type.
    """
    if not body:
        raise missing_field("prompt", "a string, unless there are `messages`")
    messages = ai_sdk.read_conversation(body)
    if messages is None:
        messages = [Message(role="user", content=dumps(body))]
    params = other_fields(body, ai_sdk.OWN_FIELDS)
    return ParsedRequest(messages=messages, params=params, body=body, chat=text_field(body, "id"))


def error(code: str, message: str, status: int, reference: str) -> str:
    return with_reference(message, reference)


TEXT = WireProtocol(
    name="text",
    path="/<provider>/text",
    read=read,
    encoder=TextEncoder,
    error=error,
    string_body_field="prompt",
    content_type=PLAIN,
    error_type=PLAIN,
    heartbeat=None,
    stateful=True,
    stopped_by_leaving=True,
    aborted_by=(ev.Stopped, ev.Failed, ev.Interrupted),
)
