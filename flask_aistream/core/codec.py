"""Event ⇄ JSON, for stores and APIs that hold a log outside this process."""

from __future__ import annotations

import typing as t
from dataclasses import fields

from flask_aistream.core import events

NAMES: dict[type, str] = {
    events.RunStarted: "run-started",
    events.Reasoning: "reasoning",
    events.ToolCallStarted: "tool-call-started",
    events.ToolCallArguments: "tool-call-arguments",
    events.ToolCall: "tool-call",
    events.ToolApproval: "tool-approval",
    events.ToolResult: "tool-result",
    events.ToolError: "tool-error",
    events.SourceUrl: "source-url",
    events.SourceDocument: "source-document",
    events.File: "file",
    events.Data: "data",
    events.Usage: "usage",
    events.StepStarted: "step-started",
    events.StepFinished: "step-finished",
    events.Finished: "finished",
    events.Stopped: "stopped",
    events.Failed: "failed",
    events.Interrupted: "interrupted",
}
TYPES: dict[str, type] = {name: kind for kind, name in NAMES.items()}
FIELDS = {kind: tuple(field.name for field in fields(kind)) for kind in NAMES}


def to_json(event: events.Event) -> t.Any:
    """A string for a text delta, else an object whose ``type`` names the event."""
    if isinstance(event, str):
        return event
    kind = type(event)
    return {"type": NAMES[kind], **{name: getattr(event, name) for name in FIELDS[kind]}}


def from_json(value: t.Any) -> events.Event:
    """The inverse of :func:`to_json`.

    Unknown fields are dropped, so an older reader can read what a newer writer wrote.

    :raises KeyError: ``type`` is not the name of an event.
    """
    if isinstance(value, str):
        return value
    kind = TYPES[value["type"]]
    known = {name: value[name] for name in FIELDS[kind] if name in value}
    return t.cast(events.Event, kind(**known))
