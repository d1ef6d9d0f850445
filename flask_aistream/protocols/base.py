"""The interface of a wire protocol: ``WireProtocol``, ``ParsedRequest`` and ``Encoder``."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field

from flask_aistream.core.conversation import Branch
from flask_aistream.core.conversation import Decision
from flask_aistream.core.events import Event
from flask_aistream.core.events import Terminal
from flask_aistream.core.fold import Fold
from flask_aistream.core.request import Message
from flask_aistream.sse.encode import HEARTBEAT

EVENT_STREAM = "text/event-stream; charset=utf-8"
NOTHING: Mapping[str, t.Any] = {}


class Attempt(t.NamedTuple):
    """One attempt of a client at a request that it repeats after a failure.

    :param retries: Number of earlier attempts.
    :param name: The same for all attempts at requests with one content.
    :param secret: The request has an unguessable credential, which identifies an anonymous client.
    """

    retries: int
    name: str
    secret: bool


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A request, parsed from the body (or query) of one protocol.

    :param messages: The conversation in OpenAI's chat format; empty if the body has none.
    :param params: Fields that the protocol does not define, for the provider.
    :param body: The whole request body.
    :param chat: Id of the conversation, if the protocol has one.
    :param message_id: Client's id of the newest message.
    :param branch: Where the request leaves the history of its conversation; ``None``: it appends.
    :param decisions: A person's answers to ``ToolApproval`` events.
    :param needs_history: The request cannot be answered from its own messages.
    :param previous: Id of the response whose conversation the request continues.
    :param has_instructions: The first message instructs the model for this request alone.
    :param appends: All messages are new, instead of a conversation that ends with a new one.
    :param references: Ids of items of earlier responses that the messages lack.
    :param continues: Id of the client's message that the answer extends; ``None`` for a new message.
    :param echo: Fields that the protocol repeats in its responses; ``None`` if it repeats none.
    :param cursor: Cursor to resume from, as text; ``None`` starts a run.
    :param key: Idempotency key; ``None`` for none.
    :param attempt: The client's attempt at this request, if it counts its attempts.
    :param options: Options for the protocol's encoder (``include_usage`` …).
    :param provider: Name of the provider, if the protocol has it in the body instead of the path.
    :param stream: False requests a single JSON response (``WireProtocol.response_body``).
    :param background: The run continues without readers.
    """

    messages: list[Message]
    params: dict[str, t.Any] = field(default_factory=dict)
    body: dict[str, t.Any] = field(default_factory=dict)
    chat: str | None = None
    message_id: str | None = None
    branch: Branch | None = None
    decisions: Sequence[Decision] = ()
    needs_history: bool = False
    previous: str | None = None
    has_instructions: bool = False
    appends: bool = False
    references: Sequence[str] = ()
    continues: str | None = None
    echo: dict[str, t.Any] | None = None
    cursor: str | None = None
    key: str | None = None
    attempt: Attempt | None = None
    options: Mapping[str, t.Any] = field(default_factory=dict)
    provider: str | None = None
    stream: bool = True
    background: bool = False


@dataclass(frozen=True, slots=True)
class EncoderContext:
    """The input of an encoder besides the events.

    :param created: Start of the run, in seconds since the epoch.
    :param links: URL paths of the run, by name: ``events`` and ``stop``.
    :param options: ``ParsedRequest.options`` and the options of the query.
    """

    run: str
    provider: str
    created: float = 0.0
    links: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, t.Any] = field(default_factory=dict)


class Encoder(t.Protocol):
    """Encodes one log for one connection. Not thread-safe; called with consecutive records, in order."""

    def encode(self, first: int, events: Sequence[Event]) -> bytes:
        """The frames of consecutive events.

        :param first: Record number of ``events[0]``.
        """
        ...

    def gap(self, first: int) -> bytes:
        """The frames that report trimmed records.

        :param first: Number of the first record that is left.
        :returns: Empty if the format cannot report a gap; the connection is then aborted.
        """
        ...


def no_options(query: Mapping[str, str]) -> Mapping[str, t.Any]:
    return NOTHING


def no_headers(status: int) -> Mapping[str, str]:
    return NOTHING


def same_status(status: int) -> int:
    return status


@dataclass(frozen=True, slots=True)
class WireProtocol:
    """One wire protocol: a row of ``PROTOCOLS``.

    :param path: URL rule below the blueprint's prefix. Without ``<provider>`` in it, the body names the
        provider (``ParsedRequest.provider``).
    :param read: Request body (or query) → ``ParsedRequest``. Raises ``RequestError``.
    :param encoder: Creates the encoder of one connection.
    :param error: ``(code, message, status, reference)`` → body of an HTTP error. The reference is in the log, too.
    :param methods: HTTP methods of the route. A ``GET`` has its fields in the query.
    :param form: A ``POST`` body may also be a form. Fields of a form that are not text → their JSON types (a field that
        may be text too has ``str`` among them). ``None``: only JSON.
    :param string_body_field: Field that a body of one JSON string stands for; ``None`` rejects such a body.
    :param options: Query of any request → options for the encoder. Raises ``RequestError``.
    :param response_body: Fold of a run → body of a response without streaming. ``None`` if the protocol
        always streams.
    :param heartbeat: Bytes that keep a silent connection open; ``None`` if the format has none.
    :param stateful: Frames depend on earlier frames, so every connection is encoded from record 0.
    :param resumable: Frames carry ids, clients reconnect with ``Last-Event-ID``, and the stream begins with
        a reconnection time.
    :param stopped_by_leaving: A client that disconnects cannot come back, so the run that its request has started or
        attached to is stopped, unless another reader has it.
    :param aborted_by: Terminal events that the format cannot express. The connection is aborted after the
        last byte, so the client sees a network error instead of a complete answer.
    :param repeat_last: A request that resumes at the end of the log gets the last record again. Otherwise
        the status is 204, which makes ``EventSource`` stop reconnecting; htmx ignores it.
    :param headers: Additional response headers of a stream.
    :param error_headers: HTTP status → additional headers of an error response.
    :param failure_status: Status of a run's failure → HTTP status of the response that reports it.
    :param run_header: Response header that holds the run's id, besides ``AIStream-Run``.
    """

    name: str
    path: str
    read: Callable[[dict[str, t.Any]], ParsedRequest]
    encoder: Callable[[EncoderContext], Encoder]
    error: Callable[[str, str, int, str], str]
    methods: tuple[str, ...] = ("POST",)
    form: Mapping[str, tuple[type, ...]] | None = None
    string_body_field: str | None = None
    options: Callable[[Mapping[str, str]], Mapping[str, t.Any]] = no_options
    response_body: Callable[[Fold, EncoderContext], dict[str, t.Any]] | None = None
    content_type: str = EVENT_STREAM
    error_type: str = "application/json"
    heartbeat: bytes | None = HEARTBEAT
    stateful: bool = False
    resumable: bool = False
    stopped_by_leaving: bool = False
    aborted_by: tuple[type[Terminal], ...] = ()
    repeat_last: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    error_headers: Callable[[int], Mapping[str, str]] = no_headers
    failure_status: Callable[[int], int] = same_status
    run_header: str | None = None
