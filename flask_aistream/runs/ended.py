"""The end of a run, as billing, history and monitoring receive it."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from dataclasses import field
from functools import cached_property

from flask_aistream.core.conversation import answer_of
from flask_aistream.core.conversation import is_bound
from flask_aistream.core.cursor import BEGINNING
from flask_aistream.core.events import Terminal
from flask_aistream.core.events import Usage
from flask_aistream.core.fold import STATUS
from flask_aistream.core.fold import Fold
from flask_aistream.core.request import ChatRequest
from flask_aistream.core.request import Message
from flask_aistream.core.run import Run
from flask_aistream.stores.base import Log


@dataclass(frozen=True)
class RunEnded:
    """One ended run. Delivered at least once per run, normally once: deduplicate by ``run.id``.

    ``text``, ``usage``, ``message`` and ``answer`` read the log when first accessed.

    :param outcome: The terminal event: ``Finished``, ``Stopped``, ``Failed`` or ``Interrupted``.
    :param seconds: From start to end; for a run that waited in a queue, from its adoption by a worker.
    :param first_seconds: From the start to the provider's first event; ``None``: it yielded none.
    """

    run: Run
    outcome: Terminal
    seconds: float
    first_seconds: float | None
    _log: Log = field(repr=False, compare=False)

    @cached_property
    def request(self) -> ChatRequest:
        """What was asked, without its ``body``, also in another process: ``prompt``, ``messages``, ``params``, ``chat`` …
        A request above ``AISTREAM_REQUEST_BYTES`` has lost its oldest messages."""
        return request_of(self.run)

    @property
    def chat(self) -> str | None:
        """Id of the conversation; ``None`` also for a short id of an anonymous caller, which others could have."""
        return self.request.chat if is_bound(self.request.chat, self.run.owner) else None

    @property
    def question(self) -> list[Message]:
        """The new messages of the request, with ids, in OpenAI's chat format."""
        return self.request.question

    @property
    def answer(self) -> list[Message]:
        """The text and tool calls of the answer as messages, with ids; empty if it has none."""
        return answer_of(self.message, self.run.id)

    @cached_property
    def message(self) -> Fold:
        """The whole answer, or the part of it that was made before the end."""
        return fold_of(self._log)

    @property
    def status(self) -> str:
        """The outcome as a word: ``finished``, ``stopped``, ``failed`` or ``interrupted``."""
        return STATUS[type(self.outcome)]

    @property
    def text(self) -> str:
        return self.message.text

    @property
    def usage(self) -> Usage | None:
        """Tokens used, as far as the provider reported it."""
        return self.message.usage


class EndObserver(t.Protocol):
    """Receives the end of every run."""

    @property
    def listening(self) -> bool:
        """Whether there is a subscriber now. Without one, ends are not announced."""
        ...

    def run_ended(self, ended: RunEnded) -> None:
        """Deliver one end. May block; an exception is logged."""
        ...


def request_of(run: Run) -> ChatRequest:
    """The request of a run, as far as the store has it."""
    if run.request:
        return ChatRequest.decode(run.request)
    return ChatRequest("", [], provider=run.provider, run=run.id, owner=run.owner)


def status_of(log: Log) -> str:
    """``queued``, ``running``, or how the run ended."""
    if log.terminal is not None:
        return STATUS[type(log.terminal)]
    return "running" if log.epoch else "queued"


def summary_of(log: Log) -> dict[str, t.Any]:
    """The run in a list of runs."""
    run = log.run
    return {
        "run": run.id,
        "provider": run.provider,
        "created": run.created,
        "status": status_of(log),
    }


def fold_of(log: Log) -> Fold:
    """The fold of a whole log."""
    return folded(log)[0]


def folded(log: Log) -> tuple[Fold, int]:
    """The fold of a whole log, and the number of its last record. Trimmed records are missing in the fold."""
    fold = Fold()
    number = BEGINNING
    while (page := log.read(number)).events:
        fold.add(page.events)
        number = page.last
    return fold, number
