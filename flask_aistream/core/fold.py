"""Events → the message they add up to (a fold)."""

from __future__ import annotations

import typing as t
from dataclasses import MISSING
from dataclasses import fields
from dataclasses import replace

from flask_aistream.core import events as ev

Part = dict[str, t.Any]

STATUS: dict[type, str] = {
    ev.Finished: "finished",
    ev.Stopped: "stopped",
    ev.Failed: "failed",
    ev.Interrupted: "interrupted",
}


class Fold:
    """The events of a run so far, folded into one message.

    ``parts`` preserves the order of the events. Consecutive deltas of one kind are one part; a tool call is
    one part from its start to its result.

    :ivar count: Number of events added.
    """

    def __init__(self, events: t.Iterable[ev.Event] = ()) -> None:
        self.count = 0
        self.parts: list[Part] = []
        self.usage: ev.Usage | None = None
        self.started: ev.RunStarted | None = None
        self.terminal: ev.Terminal | None = None
        self._tools: dict[str, Part] = {}
        self._deltas: dict[int, list[str]] = {}
        self.add(events)

    def add(self, events: t.Iterable[ev.Event]) -> None:
        for event in events:
            self.count += 1
            if type(event) is str:
                self._delta("text", event)
            else:
                self._add_event(event)

    @property
    def text(self) -> str:
        """All text deltas, joined."""
        return self._text_of("text")

    @property
    def reasoning(self) -> str:
        return self._text_of("reasoning")

    @property
    def status(self) -> str:
        """``running``, ``finished``, ``stopped``, ``failed`` or ``interrupted``."""
        return STATUS[type(self.terminal)] if self.terminal else "running"

    def to_json(self) -> dict[str, t.Any]:
        """The message as one JSON object; keys without a value are left out."""
        message: dict[str, t.Any] = {"status": self.status, "text": self.text}
        if self.reasoning:
            message["reasoning"] = self.reasoning
        message["parts"] = [self._part_json(part) for part in self.parts]
        if self.usage:
            message["usage"] = compact_fields(self.usage)
        if self.terminal:
            message["end"] = compact_fields(self.terminal, exclude=("status", "at"))
        return message

    def _add_event(self, event: ev.Event) -> None:
        match event:
            case str():
                self._delta("text", event)
            case ev.Reasoning():
                self._delta("reasoning", event.text)
            case ev.ToolCallStarted():
                self._tool(event.id, name=event.name, state="arguments")
            case ev.ToolCallArguments():
                part = self._tool(event.id)
                part["arguments_text"] = part.get("arguments_text", "") + event.delta
            case ev.ToolCall() | ev.ToolApproval():
                state = "called" if isinstance(event, ev.ToolCall) else "approval"
                part = self._tool(event.id, name=event.name, state=state)
                part.pop("arguments_text", None)
                part["arguments"] = event.arguments
            case ev.ToolResult():
                self._tool(event.id, state="result", result=event.result)
            case ev.ToolError():
                self._tool(event.id, state="error", error=event.message)
            case ev.SourceUrl() | ev.SourceDocument() | ev.File():
                self.parts.append({"type": PART_TYPES[type(event)], **compact_fields(event)})
            case ev.Data():
                self._data(event)
            case ev.Usage():
                self.usage = merged(self.usage, event)
            case ev.Finished() | ev.Stopped() | ev.Failed() | ev.Interrupted():
                self.terminal = event
            case ev.RunStarted():
                self.started = event
            case _:  # Steps add no part.
                pass

    def _delta(self, kind: str, text: str) -> None:
        if not (self.parts and self.parts[-1]["type"] == kind):
            self.parts.append({"type": kind})
        # Joined on access: += for every delta would be quadratic in the length of the answer.
        self._deltas.setdefault(id(self.parts[-1]), []).append(text)

    def _tool(self, call: str, **changes: t.Any) -> Part:
        if call not in self._tools:
            self._tools[call] = {"type": "tool", "id": call}
            self.parts.append(self._tools[call])
        self._tools[call].update(changes)
        return self._tools[call]

    def _data(self, event: ev.Data) -> None:
        part = {"type": "data", **compact_fields(event)}
        for index, old in enumerate(self.parts):
            if event.id is not None and (old.get("name"), old.get("id")) == (event.name, event.id):
                self.parts[index] = part
                return
        self.parts.append(part)

    def _text_of(self, kind: str) -> str:
        parts = (part for part in self.parts if part["type"] == kind)
        return "".join("".join(self._deltas[id(part)]) for part in parts)

    def _part_json(self, part: Part) -> Part:
        if id(part) not in self._deltas:
            return dict(part)
        return {"type": part["type"], "text": "".join(self._deltas[id(part)])}


PART_TYPES = {ev.SourceUrl: "source-url", ev.SourceDocument: "source-document", ev.File: "file"}


def compact_fields(value: t.Any, exclude: t.Container[str] = ()) -> dict[str, t.Any]:
    """The fields of a dataclass value as a dict, without optional fields that are ``None``.

    :param exclude: Names of fields to leave out.
    """
    pairs = ((field, getattr(value, field.name)) for field in fields(value))
    return {
        field.name: content
        for field, content in pairs
        if field.name not in exclude and (content is not None or field.default is MISSING)
    }


def merged(old: ev.Usage | None, new: ev.Usage) -> ev.Usage:
    """``new`` over ``old``, field by field: SDKs report input and output tokens in separate chunks."""
    return new if old is None else replace(old, **compact_fields(new))
