"""What a caller asks of a provider, whatever dialect it was asked in."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from dataclasses import field

Message = dict[str, t.Any]
"""One turn in OpenAI's chat shape: ``{"role": …, "content": str | [part, …], …}``. Parts and roles
that we do not know are kept as they came."""


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
    """

    prompt: str
    messages: list[Message]
    params: dict[str, t.Any] = field(default_factory=dict)
    body: dict[str, t.Any] = field(default_factory=dict, repr=False)
    provider: str = ""
    run: str = ""
    owner: str | None = None
    chat: str | None = None
    _on_stop: list[t.Callable[[], object]] = field(default_factory=list, repr=False, compare=False)

    def on_stop(self, callback: t.Callable[[], object]) -> None:
        """Call ``callback`` when the run is stopped while the provider still works.

        Needed only where a provider waits in something that neither a greenlet kill nor closing its
        socket can interrupt (a C extension under threads). It runs in the stopper's thread.
        """
        self._on_stop.append(callback)

    def stopping(self) -> tuple[t.Callable[[], object], ...]:
        """The callbacks given to :meth:`on_stop` so far."""
        return tuple(self._on_stop)


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
