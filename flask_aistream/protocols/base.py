"""What a wire protocol is: a ``WireProtocol`` that reads requests and makes encoders."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field

from flask_aistream.core.events import Event
from flask_aistream.core.events import Terminal
from flask_aistream.core.fold import Fold
from flask_aistream.core.request import Message
from flask_aistream.sse.encode import HEARTBEAT

EVENT_STREAM = "text/event-stream; charset=utf-8"
NOTHING: Mapping[str, t.Any] = {}


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """What a request asked for, read out of its dialect.

    :param messages: The conversation in OpenAI's chat shape; empty where nothing was said.
    :param params: Fields that are neither messages nor the dialect's own machinery.
    :param body: The whole request as it came.
    :param chat: Id of the conversation, where the dialect has one.
    :param continues: Id of the client's message that the answer goes on with; ``None``: a new one.
    :param cursor: Where to resume, as text; ``None`` starts a run.
    :param key: Idempotency key, ``None`` for none.
    :param options: What the dialect's encoder wants to remember (``include_usage`` …).
    :param provider: Name of the provider, where the dialect says it in the body and not in the path.
    :param stream: Whether frames are wanted; else one whole answer (``WireProtocol.response_body``).
    :param background: Whether the answer is to be made without the client waiting for it.
    """

    messages: list[Message]
    params: dict[str, t.Any] = field(default_factory=dict)
    body: dict[str, t.Any] = field(default_factory=dict)
    chat: str | None = None
    continues: str | None = None
    cursor: str | None = None
    key: str | None = None
    options: Mapping[str, t.Any] = field(default_factory=dict)
    provider: str | None = None
    stream: bool = True
    background: bool = False


@dataclass(frozen=True, slots=True)
class EncoderContext:
    """What an encoder may know of a run besides its events.

    :param created: When the run began, seconds since the epoch.
    :param links: Paths of this run: ``events`` and ``stop``.
    :param options: ``ParsedRequest.options`` of the request being answered.
    """

    run: str
    provider: str
    created: float = 0.0
    links: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, t.Any] = field(default_factory=dict)


class Encoder(t.Protocol):
    """Words one log for one connection. Called by one reader at a time, in order."""

    def encode(self, first: int, events: Sequence[Event]) -> bytes:
        """The frames of consecutive events, the first of which is record number ``first``."""
        ...

    def gap(self, first: int) -> bytes:
        """What to say where the records before number ``first`` were trimmed away. Empty where the
        format has no word for it: the delivery then breaks the connection off."""
        ...


def no_options(query: Mapping[str, str]) -> Mapping[str, t.Any]:
    return NOTHING


def no_headers(status: int) -> Mapping[str, str]:
    return NOTHING


@dataclass(frozen=True, slots=True)
class WireProtocol:
    """One wire protocol: a row of the table, and all that the web layer knows of it.

    :param path: Of its route, below the blueprint's prefix. ``<provider>`` stands for a provider's
        name; without it, the request names one (``ParsedRequest.provider``).
    :param read: Request body (or query) → ``ParsedRequest``.
        Raises ``RequestError`` saying what was wrong and what would be right.
    :param encoder: Makes the encoder of one connection.
    :param error: ``(code, message, status)`` → body of an HTTP error in this dialect.
    :param methods: Of its route. A ``GET`` has its fields in the query.
    :param accepts_forms: A ``POST`` body may be a form as well as JSON.
    :param string_body_field: A body that is only a JSON string is the field of this name; ``None`` refuses it.
    :param options: Query of any request in this dialect → what its encoder must know besides
        ``ParsedRequest.options``. Raises ``RequestError``.
    :param response_body: Fold of a run that ended (or, in the background, did not) → the answer as one JSON
        object; ``None`` where the dialect only streams.
    :param heartbeat: Bytes that keep a silent connection open; ``None`` where the format has none.
    :param stateful: A frame depends on those before it, so every connection begins at the beginning.
    :param resumable: Frames carry ids, clients come back with ``Last-Event-ID``, and want to be told a
        reconnection time.
    :param aborted_by: Terminal events this format has no word for. The delivery then breaks the connection
        off after the last byte, so that the client sees a network error and not a complete answer.
    :param repeat_last: A resume at the very end is answered with the last record again. Where it is not,
        the answer is 204, which tells an ``EventSource`` (but no htmx) to stop.
    :param headers: Response headers besides those every stream has.
    :param error_headers: Status of an HTTP error → its headers besides those every error has.
    :param run_header: Response header that tells the run's id, besides ``AIStream-Run``.
    """

    name: str
    path: str
    read: Callable[[dict[str, t.Any]], ParsedRequest]
    encoder: Callable[[EncoderContext], Encoder]
    error: Callable[[str, str, int], str]
    methods: tuple[str, ...] = ("POST",)
    accepts_forms: bool = False
    string_body_field: str | None = None
    options: Callable[[Mapping[str, str]], Mapping[str, t.Any]] = no_options
    response_body: Callable[[Fold, EncoderContext], dict[str, t.Any]] | None = None
    content_type: str = EVENT_STREAM
    error_type: str = "application/json"
    heartbeat: bytes | None = HEARTBEAT
    stateful: bool = False
    resumable: bool = False
    aborted_by: tuple[type[Terminal], ...] = ()
    repeat_last: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    error_headers: Callable[[int], Mapping[str, str]] = no_headers
    run_header: str | None = None
