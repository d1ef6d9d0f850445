"""What a run can say.

A text delta is a plain ``str``: it is by far the most frequent event, and a class of its own would
cost more to make than everything else the log does with it. Every other event is a frozen value.
A log ends with exactly one of the four terminal events, and nothing follows it.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

FinishReason = t.Literal["stop", "length", "tool-calls", "content-filter", "other"]
FINISH_REASONS: tuple[FinishReason, ...] = t.get_args(FinishReason)

Json = t.Any
"""A value ``json.dumps`` accepts."""


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The run exists. Always record 0, written by us, never by a provider.

    :param continues: Id of the client's message that the run goes on with, instead of a new one.
    """

    run: str
    provider: str
    continues: str | None = None


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A delta of what the model thinks before, or while, it answers."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallStarted:
    """The model began to call a tool; its arguments follow as deltas under the same ``id``."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class ToolCallArguments:
    """A delta of the JSON text of a tool call's arguments."""

    id: str
    delta: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call is complete. It may come without a ``ToolCallStarted`` before it.

    :param arguments: The parsed JSON, or the raw text where the model wrote no valid JSON.
    """

    id: str
    name: str
    arguments: Json


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answered."""

    id: str
    result: Json


@dataclass(frozen=True, slots=True)
class ToolError:
    """A tool failed. ``message`` is shown to clients."""

    id: str
    message: str


@dataclass(frozen=True, slots=True)
class SourceUrl:
    """A page the answer rests on."""

    id: str
    url: str
    title: str | None = None


@dataclass(frozen=True, slots=True)
class SourceDocument:
    """A document, not on the web, the answer rests on."""

    id: str
    title: str
    media_type: str
    filename: str | None = None


@dataclass(frozen=True, slots=True)
class File:
    """A file the model made.

    :param url: Where it is, often a ``data:`` URL.
    """

    url: str
    media_type: str


@dataclass(frozen=True, slots=True)
class Data:
    """Something of the application's own.

    :param name: ASCII letters, digits, ``-`` and ``_``; names the kind of data.
    :param id: A later ``Data`` of the same name and id replaces this one on the client.
    """

    name: str
    value: Json
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens used by the run so far. A later one replaces an earlier one, field by field.

    :param input_tokens: All tokens read, those from a cache included.
    :param output_tokens: All tokens written, those of reasoning included.
    :param reasoning_tokens: The part of ``output_tokens`` spent on reasoning.
    :param cached_tokens: The part of ``input_tokens`` that came from a cache.
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
    """One model call of several begins (an agent that loops over tools)."""

    name: str = ""


@dataclass(frozen=True, slots=True)
class StepFinished:
    name: str = ""


@dataclass(frozen=True, slots=True)
class Finished:
    """Terminal: the provider came to its end.

    A provider may yield it to give the reason; it is written when the provider has ended, so what
    an SDK reports after the reason (usage) is not lost. The last reason given counts.
    """

    reason: FinishReason = "stop"

    def __post_init__(self) -> None:
        if self.reason not in FINISH_REASONS:
            raise ValueError(
                f"Finished({self.reason!r}): the reason must be one of {', '.join(FINISH_REASONS)}. "
                "Take `other` for what is none of them."
            )


@dataclass(frozen=True, slots=True)
class Stopped:
    """Terminal: somebody ended the run.

    :param by: ``client`` (asked to), ``detach`` (nobody came back to read), ``application``.
    """

    by: str = "client"


@dataclass(frozen=True, slots=True)
class Failed:
    """Terminal: the run broke.

    :param code: Stable, for programs.
    :param message: A sentence that clients may see.
    :param status: What HTTP would have answered, had nothing been streamed yet.
    """

    code: str
    message: str
    status: int = 500

    def __post_init__(self) -> None:
        # An exception as the message is easily written. No store could keep it, and the run would not end.
        if not (isinstance(self.code, str) and isinstance(self.message, str)):
            raise TypeError(
                f"Failed({self.code!r}, {self.message!r}): the code and the message must be strings. "
                "Take str(error) for an exception, if clients may see what it says."
            )


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Terminal: the process that ran the provider went away before it was done.

    :param cause: ``drain`` (the server was stopped), ``owner-lost`` (it died) or ``killed`` (the provider
        was ended from outside).
    """

    cause: str = "drain"


Terminal = Finished | Stopped | Failed | Interrupted
TERMINAL: tuple[type[Terminal], ...] = (Finished, Stopped, Failed, Interrupted)

Event = (
    str
    | RunStarted
    | Reasoning
    | ToolCallStarted
    | ToolCallArguments
    | ToolCall
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
