"""pydantic-ai: the events of an agent's run, and its result.

``agent.run_stream_events()``, ``agent.iter()`` and event handlers yield them. An agent calls its model several times, and
each answer is a step of several parts.
"""

from __future__ import annotations

import re
import typing as t
from collections.abc import Callable
from collections.abc import Sequence

from flask_aistream.core.events import Data
from flask_aistream.core.events import Event
from flask_aistream.core.events import File
from flask_aistream.core.events import Finished
from flask_aistream.core.events import Reasoning
from flask_aistream.core.events import StepFinished
from flask_aistream.core.events import StepStarted
from flask_aistream.core.events import ToolError
from flask_aistream.core.events import ToolResult
from flask_aistream.core.events import Usage
from flask_aistream.providers.accounting import Accounting
from flask_aistream.providers.finish import reason_of
from flask_aistream.providers.plain import data_url
from flask_aistream.providers.plain import field_of
from flask_aistream.providers.plain import plain
from flask_aistream.providers.tool_calls import ToolCallAssembler


class PydanticAIAdapter:
    def __init__(self, accounting: Accounting) -> None:
        self._accounting = accounting
        self._tool_calls = ToolCallAssembler(accounting)
        self._in_step = False
        self._readers: dict[str, Callable[[t.Any], Sequence[Event]]] = {
            "part_delta": self._part_delta,
            "part_start": self._part_started,
            "part_end": self._part_ended,
            "function_tool_call": self._called,
            "output_tool_call": self._called,
            "function_tool_result": self._answered,
            "output_tool_result": self._answered,
            "agent_run_result": lambda event: self._run_ended(event.result),
            "custom": custom,
        }

    def events(self, chunk: t.Any) -> Sequence[Event]:
        kind = getattr(chunk, "event_kind", None)
        if kind is None:
            return self._whole(chunk)
        read = self._readers.get(kind)
        return read(chunk) if read else ()

    @property
    def incomplete(self) -> bool:
        return False  # It invents a reason where the model gave none.

    def done(self) -> Sequence[Event]:
        return ()

    def close(self) -> Sequence[Event]:
        return [*self._tool_calls.end_complete(), *self._end_step()]

    def _part_delta(self, event: t.Any) -> Sequence[Event]:
        delta = event.delta
        match delta.part_delta_kind:
            case "text":
                return (delta.content_delta,) if delta.content_delta else ()
            case "thinking":
                return (Reasoning(delta.content_delta),) if delta.content_delta else ()
            case "tool_call":
                name = delta.tool_name_delta
                return self._tool_calls.part(
                    event.index, delta.tool_call_id, name, delta.args_delta
                )
            case "speech":
                return (delta.transcript_delta,) if delta.transcript_delta else ()
            case _:
                return ()

    def _part_started(self, event: t.Any) -> Sequence[Event]:
        events = self._begin_step() if event.index == 0 else []
        part = event.part
        if part.part_kind.endswith("tool-call"):
            return events + self._tool_calls.part(
                event.index, part.tool_call_id, part.tool_name, part.args
            )
        return events + self._part(part)

    def _part_ended(self, event: t.Any) -> Sequence[Event]:
        """A call is complete when its part ends: an output tool is never executed."""
        if event.part.part_kind.endswith("tool-call"):
            return self._tool_calls.end(event.index, event.part.args)
        return self._cited(event.part)

    def _part(self, part: t.Any) -> list[Event]:
        """Handle the start of a part, which contains its first text, or all of it."""
        match part.part_kind:
            case "text":
                return [part.content] if part.content else []
            case "thinking":
                return [Reasoning(part.content)] if part.content else []
            case "file":
                media_type = part.content.media_type
                return [File(data_url(media_type, part.content.data), media_type)]
            case "speech":
                return [part.transcript] if part.transcript else []
            case "builtin-tool-return" | "tool-return" | "retry-prompt":
                return [answer(part)]
            case _:
                return []

    def _called(self, event: t.Any) -> Sequence[Event]:
        """The call is about to be executed. Before 1.16 nothing else events that it was complete."""
        part = event.part
        if part.tool_call_id in self._tool_calls.completed:
            return ()
        return self._tool_calls.whole(part.tool_call_id, part.tool_name, part.args)

    def _answered(self, event: t.Any) -> Sequence[Event]:
        return (answer(getattr(event, "part", None) or event.result),)

    def _cited(self, part: t.Any) -> list[Event]:
        events: list[Event] = []
        for citation in getattr(part, "citations", None) or ():
            for source in citation.sources:
                if source.kind == "web":
                    events += self._accounting.url(source.url, source.title)
                else:
                    name = source.title or source.document_id or "Document"
                    events += self._accounting.document(
                        source.document_id or name, name, "text/plain"
                    )
        return events

    def _run_ended(self, result: t.Any) -> Sequence[Event]:
        events = [*self._tool_calls.end_all(), *self._end_step()]
        # A method before 2.0, later a property whose value still warns of being called.
        usage = result.usage if hasattr(result.usage, "input_tokens") else result.usage()
        events += self._accounting.used(f"pydantic-ai {id(result)}", used(usage))
        reason = field_of(getattr(result, "response", None), "finish_reason")
        return [*events, Finished(reason_of(reason) if reason else "stop")]

    def _whole(self, result: t.Any) -> Sequence[Event]:
        """The result of a run that was not streamed, or one answer of a model."""
        if hasattr(result, "parts"):
            return self._message(result)
        events: list[Event] = []
        for message in result.new_messages():
            events += self._message(message)
        return events + list(self._run_ended(result))

    def _message(self, message: t.Any) -> list[Event]:
        events: list[Event] = self._begin_step() if message.kind == "response" else []
        for part in message.parts:
            if part.part_kind.endswith("tool-call"):
                events += self._tool_calls.whole(part.tool_call_id, part.tool_name, part.args)
            elif part.part_kind not in ("retry-prompt",) or part.tool_name:
                events += self._part(part) + self._cited(part)
        return events

    def _begin_step(self) -> list[Event]:
        ended = [*self._tool_calls.end_all(), *self._end_step()]
        self._in_step = True
        return [*ended, StepStarted()]

    def _end_step(self) -> list[Event]:
        was, self._in_step = self._in_step, False
        return [StepFinished()] if was else []


def answer(part: t.Any) -> Event:
    """The answer of a tool. Of an exception only the message that the tool wrote for the model is passed on."""
    if part.part_kind == "retry-prompt":
        message = part.content if isinstance(part.content, str) else "The arguments were not valid."
        return ToolError(part.tool_call_id, message)
    if getattr(part, "outcome", "success") != "success":
        return ToolError(part.tool_call_id, str(part.content))
    return ToolResult(part.tool_call_id, plain(part.content))


def custom(event: t.Any) -> Sequence[Event]:
    """An event of the application's own; its class may read that it is not for clients."""
    if not event.ui:
        return ()
    name = re.sub("[^A-Za-z0-9_-]", "-", event.name)
    return (Data(name, plain(event.to_payload())),)


def used(usage: t.Any) -> Usage:
    details = getattr(usage, "details", None) or {}
    return Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=getattr(usage, "output_reasoning_tokens", None)
        or details.get("reasoning_tokens"),
        cached_tokens=usage.cache_read_tokens,
    )
