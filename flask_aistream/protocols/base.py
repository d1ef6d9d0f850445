"""What a wire protocol is: a ``Dialect`` that reads requests and makes encoders."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field

from flask_aistream.core.events import Event
from flask_aistream.core.request import Message
from flask_aistream.sse.encode import HEARTBEAT

EVENT_STREAM = "text/event-stream; charset=utf-8"
NOTHING: Mapping[str, t.Any] = {}


@dataclass(frozen=True, slots=True)
class Ask:
    """What a request asked for, read out of its dialect.

    :param messages: The conversation in OpenAI's chat shape; empty where nothing was said.
    :param params: Fields that are neither messages nor the dialect's own machinery.
    :param body: The whole request as it came.
    :param chat: Id of the conversation, where the dialect has one.
    :param cursor: Where to resume, as text; ``None`` starts a run.
    :param key: Idempotency key, ``None`` for none.
    :param options: What the dialect's encoder wants to remember (``include_usage`` …).
    """

    messages: list[Message]
    params: dict[str, t.Any] = field(default_factory=dict)
    body: dict[str, t.Any] = field(default_factory=dict)
    chat: str | None = None
    cursor: str | None = None
    key: str | None = None
    options: Mapping[str, t.Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Subject:
    """What an encoder may know of a run besides its events.

    :param created: When the run began, seconds since the epoch.
    :param links: Paths of this run: ``events`` and ``stop``.
    :param options: ``Ask.options`` of the request being answered.
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
        """What to say where the records before number ``first`` were trimmed away."""
        ...


@dataclass(frozen=True, slots=True)
class Dialect:
    """One wire protocol: a row of the table.

    :param read: Request body (or query) → ``Ask``.
        Raises ``RequestError`` saying what was wrong and what would be right.
    :param encoder: Makes the encoder of one connection.
    :param error: ``(code, message, status)`` → body of an HTTP error in this dialect.
    :param heartbeat: Bytes that keep a silent connection open; ``None`` where the format has none.
    :param stateful: The encoder must have seen every record before the cursor.
    :param headers: Response headers besides those every stream has.
    """

    name: str
    read: Callable[[dict[str, t.Any]], Ask]
    encoder: Callable[[Subject], Encoder]
    error: Callable[[str, str, int], str]
    content_type: str = EVENT_STREAM
    error_type: str = "application/json"
    heartbeat: bytes | None = HEARTBEAT
    stateful: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
