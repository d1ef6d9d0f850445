"""Fold → events with the same fold, for protocols that derive the response body from the stream."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator

from flask_aistream.core import events as ev
from flask_aistream.core.fold import Fold

Part = dict[str, t.Any]


def unfold(fold: Fold) -> Iterator[ev.Event]:
    """The shortest sequence of events whose fold is ``fold``."""
    if fold.started:
        yield fold.started
    for part in fold.to_json()["parts"]:
        yield from EVENTS_OF_PART[part["type"]](part)
    if fold.usage:
        yield fold.usage
    if fold.terminal:
        yield fold.terminal


def tool(part: Part) -> Iterator[ev.Event]:
    id = part["id"]
    if "name" in part:
        yield ev.ToolCallStarted(id, part["name"])
    if "arguments_text" in part:
        yield ev.ToolCallArguments(id, part["arguments_text"])
    if "arguments" in part:
        call = ev.ToolApproval if part["state"] == "approval" else ev.ToolCall
        yield call(id, part["name"], part["arguments"])
    if "result" in part:
        yield ev.ToolResult(id, part["result"])
    if "error" in part:
        yield ev.ToolError(id, part["error"])


EVENTS_OF_PART: dict[str, t.Callable[[Part], Iterator[ev.Event]]] = {
    "text": lambda part: iter((part["text"],)),
    "reasoning": lambda part: iter((ev.Reasoning(part["text"]),)),
    "tool": tool,
    "source-url": lambda part: iter((ev.SourceUrl(part["id"], part["url"], part.get("title")),)),
    "source-document": lambda part: iter((ev.SourceDocument(**fields_of(part)),)),
    "file": lambda part: iter((ev.File(**fields_of(part)),)),
    "data": lambda part: iter((ev.Data(**fields_of(part)),)),
}


def fields_of(part: Part) -> Part:
    return {name: value for name, value in part.items() if name != "type"}
