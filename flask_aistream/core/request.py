"""What a caller asks of a provider, whatever dialect it was asked in."""

from __future__ import annotations

import contextlib
import json
import typing as t
from dataclasses import dataclass
from dataclasses import field
from dataclasses import fields

from flask_aistream.errors import RequestError

Message = dict[str, t.Any]
"""One turn in OpenAI's chat shape: ``{"role": …, "content": str | [part, …], …}``. Parts and roles
that we do not know are kept as they came."""


class StopSignal:
    """Whether a run was stopped, and whom to tell. Each callback is taken once, by whichever thread."""

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
    """What a provider is called with. Plain data: it may be sent to another process.

    :param prompt: Text of the last user message.
    :param messages: The conversation in OpenAI's chat shape, ready for most SDKs.
    :param params: Every other field of the request (``model``, ``temperature``, your own).
    :param body: The request as it came, in its own dialect.
    :param provider: Name of the provider asked.
    :param run: Id of this run.
    :param owner: Who asked, as named by ``@ai.identify``; ``None`` for nobody in particular.
    :param chat: Id of the conversation, where the dialect has one.
    :param continues: Id of the assistant's message that this run goes on with (a tool ran in the
        browser), where the dialect has one.
    :param background: The run is to come to its end, also if nobody reads it.
    :param so_far: Text that the run has said already, where it is restarted: go on from there. See
        ``@ai.provider(restart=True)``.
    :param restarts: How often that has happened.
    """

    prompt: str
    messages: list[Message]
    params: dict[str, t.Any] = field(default_factory=dict)
    body: dict[str, t.Any] = field(default_factory=dict, repr=False)
    provider: str = ""
    run: str = ""
    owner: str | None = None
    chat: str | None = None
    continues: str | None = None
    background: bool = False
    so_far: str = field(default="", repr=False)
    restarts: int = 0
    _stop: StopSignal = field(default_factory=StopSignal, repr=False, compare=False)

    def encode(self) -> str:
        """As JSON, all ASCII, for a provider in another process: everything but who is to be told of a
        stop, which is that process's affair.

        :raises RequestError: It holds something that JSON has not.
        """
        values = {name: getattr(self, name) for name in ENCODED_FIELDS}
        try:
            return json.dumps(values, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError) as error:
            raise RequestError(
                f"The request cannot be sent to another process ({error}): `messages`, `params` and "
                "`body` must hold what JSON has, and not be nested too deeply.",
                "request_invalid",
                422,
            ) from None

    @classmethod
    def decode(cls, text: str) -> ChatRequest:
        """The inverse of :meth:`encode`. Fields this version does not know are dropped."""
        values = json.loads(text)
        return cls(**{name: values[name] for name in ENCODED_FIELDS if name in values})

    def on_stop(self, callback: t.Callable[[], object]) -> None:
        """Call ``callback`` when the run is stopped while the provider still works.

        Needed only where a provider waits in something that neither a greenlet kill nor closing its
        socket can interrupt (a C extension under threads). It runs in the stopper's thread; if the run
        was stopped already, here and now.
        """
        self._stop.callbacks.append(callback)
        if self._stop.requested:
            for missed in self._stop.take():
                missed()

    @property
    def has_stop_callbacks(self) -> bool:
        """Whether somebody has asked to be called at a stop."""
        return bool(self._stop.callbacks)

    def request_stop(self) -> list[t.Callable[[], object]]:
        """The callbacks given to :meth:`on_stop` so far; those given from now on are called at once."""
        self._stop.requested = True
        return self._stop.take()


ENCODED_FIELDS = tuple(
    field.name for field in fields(ChatRequest) if not field.name.startswith("_")
)


def text_of(content: t.Any) -> str:
    """The text of a message's content: a string, or the text parts of a list joined.

    Sources: OpenAI Chat Completions (``content`` parts), AI SDK UI messages (``parts``).
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = (part for part in content if isinstance(part, dict))
    return "".join(part["text"] for part in parts if isinstance(part.get("text"), str))


def last_prompt(messages: t.Sequence[Message]) -> str:
    """Text of the last user message, ``""`` where there is none."""
    asked = (m for m in reversed(messages) if m.get("role") == "user")
    return next((text_of(message.get("content")) for message in asked), "")
