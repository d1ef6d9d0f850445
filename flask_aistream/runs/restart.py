"""Go on with a run whose owner is gone: what its provider has to know, and what closes what was half said.

A provider begins anew, so nothing of its last call may be left open: a tool call that was not answered is
completed as far as it was said and answered with an error, and a step is finished. Open text and reasoning
need nothing: what comes next goes on with them, or ends them, in every dialect.
"""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from flask_aistream.core import events as ev
from flask_aistream.core.cursor import BEGINNING
from flask_aistream.core.fold import Fold
from flask_aistream.core.request import ChatRequest
from flask_aistream.core.run import Run
from flask_aistream.providers.tool_calls import parsed
from flask_aistream.runs.pump import Provider
from flask_aistream.stores.base import Log

CUT_OFF = "The process that made this answer was lost before this call was answered."

ContextFactory = Callable[[], AbstractContextManager[t.Any]]


@dataclass(frozen=True, slots=True)
class ProviderCall:
    """All that is needed to call a provider in this process.

    :param restart: It may be called again where its first call was lost.
    """

    provider: Provider
    request: ChatRequest
    context_factory: ContextFactory
    restart: bool = False


ResolveProvider = Callable[[Run], ProviderCall]
"""How to make the answer of a run that began in another process; see ``Run.request``."""


@dataclass(frozen=True, slots=True)
class RunHistory:
    """What a run has said under the owners it had.

    :param usage: Tokens they have used, as far as they told.
    :param closing: What has to be said before anything else.
    """

    text: str
    usage: ev.Usage | None
    closing: list[ev.Event]


def history_of(log: Log) -> RunHistory | None:
    """Read a log that nobody writes to; ``None``: its beginning was trimmed away."""
    fold = Fold()
    step: ev.StepStarted | None = None
    number = BEGINNING
    while (page := log.read(number)).events:
        if page.first != number + 1:
            return None
        fold.add(page.events)
        for event in page.events:
            if isinstance(event, (ev.StepStarted, ev.StepFinished)):
                step = event if isinstance(event, ev.StepStarted) else None
        number = page.last
    closing = [event for part in fold.to_json()["parts"] for event in answered(part)]
    if step is not None:
        closing.append(ev.StepFinished(step.name))
    return RunHistory(fold.text, fold.usage, closing)


def answered(part: dict[str, t.Any]) -> t.Iterator[ev.Event]:
    """What a part of a message lacks, if it is a tool call."""
    if part.get("state") == "arguments" and "name" in part:
        yield ev.ToolCall(part["id"], part["name"], parsed(part.get("arguments_text", "")))
    if part.get("state") in ("arguments", "called"):
        yield ev.ToolError(part["id"], CUT_OFF)
