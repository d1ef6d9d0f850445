"""The events of a run.

A text delta is a plain ``str``. It is by far the most frequent event, and constructing an object for each
would cost more than appending it to the log. Every other event is a frozen dataclass.
A log ends with exactly one of four terminal events; nothing can be appended after it. Its ``at`` is the time of the end
in seconds since the epoch, which the library sets.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from dataclasses import field

FinishReason = t.Literal["stop", "length", "tool-calls", "content-filter", "other", "unknown"]
FINISH_REASONS: tuple[FinishReason, ...] = t.get_args(FinishReason)

Json = t.Any
"""A value that ``json.dumps`` accepts."""


@dataclass(frozen=True, slots=True)
class RunStarted:
    """Record 0 of every run. The library writes it; a provider cannot.

    :param continues: Id of the client's message that the answer extends; ``None`` for a new message.
    :param approved: Ids of the tool calls of an earlier run that this one executes; ``None`` if there are none.
    :param echo: Fields of the request that its protocol repeats in responses; ``None`` if it repeats none.
    """

    run: str
    provider: str
    continues: str | None = None
    echo: Json = None
    approved: Json = None


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A delta of the model's reasoning."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallStarted:
    """The model began a tool call. Its arguments follow as deltas with the same ``id``."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class ToolCallArguments:
    """A delta of the JSON text of a tool call's arguments."""

    id: str
    delta: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A complete tool call. A ``ToolCallStarted`` before it is optional.

    :param arguments: The parsed JSON, or the raw text if the model wrote invalid JSON.
    """

    id: str
    name: str
    arguments: Json


@dataclass(frozen=True, slots=True)
class ToolApproval:
    """A complete tool call that a person has to approve before it is executed.

    The run ends as ``Finished("tool-calls")`` when its provider returns; no process waits for the decision. The next request
    of the conversation has the decision: see ``ChatRequest.approved``. A denied call has a tool message.

    :param arguments: The parsed JSON.
    """

    id: str
    name: str
    arguments: Json


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The result of a tool call."""

    id: str
    result: Json


@dataclass(frozen=True, slots=True)
class ToolError:
    """A tool call failed. Clients see ``message``."""

    id: str
    message: str


@dataclass(frozen=True, slots=True)
class SourceUrl:
    """A web page that the answer cites."""

    id: str
    url: str
    title: str | None = None


@dataclass(frozen=True, slots=True)
class SourceDocument:
    """A document without a URL that the answer cites."""

    id: str
    title: str
    media_type: str
    filename: str | None = None


@dataclass(frozen=True, slots=True)
class File:
    """A file that the model generated.

    :param url: Its location, often a ``data:`` URL.
    """

    url: str
    media_type: str


@dataclass(frozen=True, slots=True)
class Data:
    """Application-defined data.

    :param name: Kind of data: ASCII letters, digits, ``-`` and ``_``.
    :param id: A later ``Data`` with the same name and id replaces this one on the client.
    """

    name: str
    value: Json
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of the run so far. A later event replaces an earlier one, field by field.

    :param input_tokens: All input tokens, cached ones included.
    :param output_tokens: All output tokens, reasoning included.
    :param reasoning_tokens: The part of ``output_tokens`` spent on reasoning.
    :param cached_tokens: The part of ``input_tokens`` read from a cache.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None

    @property
    def total_tokens(self) -> int | None:
        if self.input_tokens is None and self.output_tokens is None:
            return None
        return (self.input_tokens or 0) + (self.output_tokens or 0)


@dataclass(frozen=True, slots=True)
class StepStarted:
    """Begin of one model call among several, as in an agent's tool loop."""

    name: str = ""


@dataclass(frozen=True, slots=True)
class StepFinished:
    name: str = ""


@dataclass(frozen=True, slots=True)
class Finished:
    """Terminal: the provider returned.

    A provider may yield it to set the reason. It is appended after the provider has returned, so usage that
    an SDK reports after the finish reason is kept. The last reason wins. ``unknown``: the provider passed on
    an SDK's chunks without the one that has the reason.
    """

    reason: FinishReason = "stop"
    at: float | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.reason not in FINISH_REASONS:
            raise ValueError(
                f"Finished({self.reason!r}): the reason must be one of {', '.join(FINISH_REASONS)}. "
                "Use `other` for any other reason."
            )


@dataclass(frozen=True, slots=True)
class Stopped:
    """Terminal: the run was stopped before its end.

    :param by: ``client`` (a stop request), ``detach`` (no reader for ``AISTREAM_DETACH_SECONDS``), ``chat`` (a
        newer question of its chat, see ``AISTREAM_CHAT_POLICY``), ``operator`` (in the playground) or ``application``.
    """

    by: str = "client"
    at: float | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Failed:
    """Terminal: the run failed.

    :param code: Stable error code, for programs.
    :param message: Error message that clients see.
    :param status: HTTP status of the response if the run failed before its first byte was sent.
    :param retry_after: Seconds to wait before a retry; ``None``: not known.
    """

    code: str
    message: str
    status: int = 500
    retry_after: float | None = None
    at: float | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        # Failed("x", error) is a likely mistake. No store can serialize an exception, so the run would never end.
        if not (isinstance(self.code, str) and isinstance(self.message, str)):
            raise TypeError(
                f"Failed({self.code!r}, {self.message!r}): the code and the message must be strings. "
                "For an exception pass str(error), if clients may see its text."
            )


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Terminal: the process that ran the provider ended first.

    :param cause: ``drain`` (the server shut down), ``owner-lost`` (the process died) or ``killed`` (the
        provider's greenlet or thread was killed from outside).
    """

    cause: str = "drain"
    at: float | None = field(default=None, compare=False, repr=False)


Terminal = Finished | Stopped | Failed | Interrupted
TERMINAL: tuple[type[Terminal], ...] = (Finished, Stopped, Failed, Interrupted)

Event = (
    str
    | RunStarted
    | Reasoning
    | ToolCallStarted
    | ToolCallArguments
    | ToolCall
    | ToolApproval
    | ToolResult
    | ToolError
    | SourceUrl
    | SourceDocument
    | File
    | Data
    | Usage
    | StepStarted
    | StepFinished
    | Terminal
)
EVENTS: tuple[type, ...] = t.get_args(Event)
