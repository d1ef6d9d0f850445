"""The request that a provider is called with, independent of the wire protocol."""

from __future__ import annotations

import contextlib
import json
import operator
import typing as t
from dataclasses import dataclass
from dataclasses import field
from dataclasses import fields

from flask_aistream.errors import RequestError

Message = dict[str, t.Any]
"""One turn in OpenAI's chat shape: ``{"role": …, "content": str | [part, …], …}``. Unknown
parts and roles are kept unchanged."""


class StopSignal:
    """A stop request and its callbacks. Thread-safe: each callback is returned by ``take`` once."""

    __slots__ = ("callbacks", "requested")

    def __init__(self) -> None:
        self.requested = False
        self.callbacks: list[t.Callable[[], object]] = []

    def take(self) -> list[t.Callable[[], object]]:
        taken: list[t.Callable[[], object]] = []
        with contextlib.suppress(IndexError):
            while True:
                taken.append(self.callbacks.pop(0))
        return taken


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """The argument of a provider. Plain data that can be sent to another process.

    :param prompt: Text of the last user message.
    :param messages: The conversation in OpenAI's chat format, which most SDKs accept.
    :param params: Every other field of the request (``model``, ``temperature``, your own).
    :param body: The request body in the client's own protocol.
    :param provider: Name of the provider.
    :param run: Id of this run.
    :param owner: The caller as returned by ``@ai.identify``; ``None`` for an anonymous one.
    :param chat: Id of the conversation, if the protocol has one.
    :param question: The new messages of the request, with ids: those that the history does not have yet.
    :param replaces: Id of the first message of the history that this run replaces, with all that follow (the client
        edits a message, or regenerates an answer); ``None``: the run appends.
    :param approved: Tool calls that a person has approved, as ``{"id", "name", "arguments"}``; see ``ToolApproval``.
    :param continues: Id of the assistant message that this run extends (after a tool call in the browser),
        if the protocol has one.
    :param echo: Fields of the request that the protocol repeats in its responses.
    :param background: The run continues without readers.
    :param trace: W3C ``traceparent`` of the span that was current at the start; "" without telemetry.
    :param so_far: Text generated before a restart; continue after it. See ``@ai.provider(restart=True)``.
    :param restarts: Number of restarts so far.
    """

    prompt: str
    messages: list[Message]
    params: dict[str, t.Any] = field(default_factory=dict)
    body: dict[str, t.Any] = field(default_factory=dict, repr=False)
    provider: str = ""
    run: str = ""
    owner: str | None = None
    chat: str | None = None
    question: list[Message] = field(default_factory=list, repr=False)
    replaces: str | None = None
    approved: list[dict[str, t.Any]] = field(default_factory=list)
    continues: str | None = None
    echo: dict[str, t.Any] | None = field(default=None, repr=False)
    background: bool = False
    trace: str = ""
    so_far: str = field(default="", repr=False)
    restarts: int = 0
    _stop: StopSignal = field(default_factory=StopSignal, repr=False, compare=False)

    def encode_for_history(self, limit: int | None) -> str:
        """Serialize for ``run_ended``, as ASCII JSON: without the body, and values without a JSON form as strings.

        :param limit: Number of characters. A larger request loses its oldest messages, and then its params.
        """
        values: dict[str, t.Any] = {"messages": self.messages}
        if self.prompt != last_prompt(self.messages):
            values["prompt"] = self.prompt
        values |= {name: it for name, it in zip(KEPT_FIELDS, kept_values(self), strict=True) if it}
        try:
            text = dumps(values)
            if limit is None or len(text) <= limit:
                return text
            room = limit - len(text) + len(dumps(self.messages))
            text = dumps({**values, "messages": newest_within(self.messages, room)})
            if len(text) <= limit:
                return text
            prompt = self.prompt[: limit // 12]  # An escaped character takes up to 12.
            return dumps({**values, "messages": [], "question": [], "params": {}, "prompt": prompt})
        except (TypeError, ValueError, RecursionError):
            return ""

    def encode(self) -> str:
        """Serialize for a provider in another process, as ASCII JSON. Stop callbacks are not included.

        :raises RequestError: A value has no JSON form, or is nested too deeply.
        """
        values = {name: getattr(self, name) for name in ENCODED_FIELDS}
        try:
            return json.dumps(values, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError) as error:
            raise RequestError(
                f"The request cannot be sent to another process ({error}): `messages`, `params` and "
                "`body` may hold only JSON values, not nested too deeply.",
                "request_invalid",
                422,
            ) from None

    @classmethod
    def decode(cls, text: str) -> ChatRequest:
        """The inverse of :meth:`encode`. Unknown fields are dropped."""
        values = json.loads(text)
        if "prompt" not in values:
            values["prompt"] = last_prompt(values["messages"])
        return cls(**{name: values[name] for name in ENCODED_FIELDS if name in values})

    def on_stop(self, callback: t.Callable[[], object]) -> None:
        """Call ``callback`` when the run is stopped before the provider has returned.

        Needed only if the provider blocks in a call that neither a greenlet kill nor closing its socket
        interrupts (a C extension under threads). The callback runs in the thread that stops the run, or
        immediately if the run is already stopped.
        """
        self._stop.callbacks.append(callback)
        if self._stop.requested:
            for pending in self._stop.take():
                pending()

    @property
    def has_stop_callbacks(self) -> bool:
        """Whether :meth:`on_stop` has callbacks that were not called yet."""
        return bool(self._stop.callbacks)

    def request_stop(self) -> list[t.Callable[[], object]]:
        """Mark the run as stopped and return the callbacks to call. Later ones are called immediately."""
        self._stop.requested = True
        return self._stop.take()


# Created once: json.dumps creates an encoder for each call with these options.
dumps = json.JSONEncoder(separators=(",", ":"), default=str).encode


def newest_within(messages: t.Sequence[Message], room: int) -> list[Message]:
    """The newest messages whose JSON is within so many characters."""
    kept: list[Message] = []
    for message in reversed(messages):
        room -= len(dumps(message)) + 1
        if room < 0:
            break
        kept.insert(0, message)
    return kept


ENCODED_FIELDS = tuple(
    field.name for field in fields(ChatRequest) if not field.name.startswith("_")
)

NOT_KEPT = {"messages", "prompt", "body", "echo", "so_far"}
KEPT_FIELDS = tuple(name for name in ENCODED_FIELDS if name not in NOT_KEPT)
"""Fields that :meth:`ChatRequest.encode_for_history` keeps, besides the messages and the prompt."""

kept_values = operator.attrgetter(*KEPT_FIELDS)


def text_of(content: t.Any) -> str:
    """The text of a message's content: the string itself, or the joined text parts of a list.

    Sources: OpenAI Chat Completions (``content`` parts), AI SDK UI messages (``parts``).
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = (part for part in content if isinstance(part, dict))
    return "".join(part["text"] for part in parts if isinstance(part.get("text"), str))


def last_prompt(messages: t.Sequence[Message]) -> str:
    """Text of the last user message; ``""`` if there is none."""
    for message in reversed(messages):
        if message.get("role") == "user":
            return text_of(message.get("content"))
    return ""
