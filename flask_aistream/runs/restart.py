"""Restart a run whose owner was lost: whether that is allowed, and from where the provider continues.

A restarted provider begins a new call, so nothing of its last call may stay open: a tool call without an answer
is completed with the arguments received so far and answered with an error, and an open step is finished. Open
text and reasoning need no event: in every wire protocol the next delta continues or ends them.
"""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass

from flask_aistream.core import events as ev
from flask_aistream.core.cursor import BEGINNING
from flask_aistream.core.fold import Fold
from flask_aistream.core.run import Run
from flask_aistream.providers.tool_calls import parsed
from flask_aistream.runs.call import ProviderCall
from flask_aistream.runs.call import ResolveProvider
from flask_aistream.runs.policy import RunPolicy
from flask_aistream.stores.base import Log

CUT_OFF = "The process that made this answer was lost before this call was answered."


class RestartRule:
    """Decides which runs may be restarted.

    :param resolve: ``None``: this process restarts no runs.
    """

    def __init__(self, resolve: ResolveProvider | None, policy: RunPolicy) -> None:
        self._resolve = resolve
        self._policy = policy

    def allows(self, run: Run, epoch: int) -> bool:
        """Whether a run that has had ``epoch`` owners may have another one. If not, it must end."""
        if self._resolve is None or not run.request or not 0 < epoch <= self._policy.max_restarts:
            return False
        limit = self._policy.run_seconds
        expired = limit is not None and time.time() - run.created >= limit
        return not expired and self._resolve(run).restart

    def resolve(self, run: Run) -> ProviderCall:
        """The provider call of a run that started in another process."""
        assert self._resolve is not None
        return self._resolve(run)


@dataclass(frozen=True, slots=True)
class RunHistory:
    """Output of the earlier calls of a restarted run.

    :param usage: Their usage; ``None``: not reported.
    :param closing: Events to append before the provider is called again.
    """

    text: str
    usage: ev.Usage | None
    closing: list[ev.Event]


def history_of(log: Log) -> RunHistory | None:
    """Read a log that has no writer; ``None``: its beginning was trimmed."""
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
    closing = [event for part in fold.to_json()["parts"] for event in closing_events(part)]
    if step is not None:
        closing.append(ev.StepFinished(step.name))
    return RunHistory(fold.text, fold.usage, closing)


def closing_events(part: dict[str, t.Any]) -> t.Iterator[ev.Event]:
    """The events that complete a part of a message, if it is a tool call without an answer."""
    if part.get("state") == "arguments" and "name" in part:
        yield ev.ToolCall(part["id"], part["name"], parsed(part.get("arguments_text", "")))
    if part.get("state") in ("arguments", "called"):
        yield ev.ToolError(part["id"], CUT_OFF)
