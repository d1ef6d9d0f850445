"""Events that an agent framework has already worded for a user interface.

pydantic-ai's adapters for the AI SDK and for AG-UI yield them (take the events, not the encoded
stream), and so does any other maker of the ``ag_ui`` package's events.
"""

from __future__ import annotations

import json
import re
import typing as t
from collections.abc import Callable
from collections.abc import Sequence

from flask_aistream.core.events import Data
from flask_aistream.core.events import Event
from flask_aistream.core.events import File
from flask_aistream.core.events import Finished
from flask_aistream.core.events import Reasoning
from flask_aistream.core.events import SourceDocument
from flask_aistream.core.events import SourceUrl
from flask_aistream.core.events import StepFinished
from flask_aistream.core.events import StepStarted
from flask_aistream.core.events import ToolError
from flask_aistream.core.events import ToolResult
from flask_aistream.core.events import Usage
from flask_aistream.providers.accounting import Accounting
from flask_aistream.providers.accounting import added
from flask_aistream.providers.failure import raise_reported
from flask_aistream.providers.finish import reason_of
from flask_aistream.providers.plain import plain
from flask_aistream.providers.tool_calls import ToolCallAssembler


class AISDKAdapter:
    """Chunks of the AI SDK's UI message stream, as pydantic-ai's classes for them."""

    def __init__(self, accounting: Accounting) -> None:
        self._accounting = accounting
        self._tool_calls = ToolCallAssembler(accounting)
        self._readers: dict[str, Callable[[t.Any], Sequence[Event]]] = {
            "text-delta": text,
            "reasoning-delta": reasoning,
            "tool-input-start": lambda c: self._tool_calls.part(
                c.tool_call_id, c.tool_call_id, c.tool_name
            ),
            "tool-input-delta": self._input_delta,
            "tool-input-available": self._input,
            "tool-input-error": self._input_error,
            "tool-output-available": lambda c: [ToolResult(c.tool_call_id, plain(c.output))],
            "tool-output-error": lambda c: [ToolError(c.tool_call_id, c.error_text)],
            "tool-output-denied": lambda c: [ToolError(c.tool_call_id, "The call was denied.")],
            "source-url": lambda c: [SourceUrl(c.source_id, c.url, c.title)],
            "source-document": lambda c: [
                SourceDocument(c.source_id, c.title, c.media_type, c.filename)
            ],
            "file": lambda c: [File(c.url, c.media_type)],
            "start-step": lambda c: [StepStarted()],
            "finish-step": lambda c: [StepFinished()],
            "finish": self._finished,
            "error": raise_reported,
        }

    def events(self, chunk: t.Any) -> Sequence[Event]:
        read = self._readers.get(chunk.type)
        if read:
            return read(chunk)
        if chunk.type.startswith("data-"):
            return (Data(name_of(chunk.type[5:]), plain(chunk.data), chunk.id),)
        return ()

    @property
    def incomplete(self) -> bool:
        return False  # These events are worded from a framework's, which invents its ends.

    def done(self) -> Sequence[Event]:
        return ()

    def close(self) -> Sequence[Event]:
        return self._tool_calls.end_complete()

    def _input_delta(self, chunk: t.Any) -> Sequence[Event]:
        return self._tool_calls.part(chunk.tool_call_id, arguments=chunk.input_text_delta)

    def _input(self, chunk: t.Any) -> Sequence[Event]:
        return self._tool_calls.whole(
            chunk.tool_call_id, chunk.tool_name, chunk.input, free_text=True
        )

    def _input_error(self, chunk: t.Any) -> Sequence[Event]:
        return [*self._input(chunk), ToolError(chunk.tool_call_id, chunk.error_text)]

    def _finished(self, chunk: t.Any) -> Sequence[Event]:
        reason = getattr(chunk, "finish_reason", None)
        return [
            *self._tool_calls.end_all(),
            Finished(reason_of(reason) if reason else "stop"),
        ]


class AGUIAdapter:
    """Events of the ``ag_ui`` package. State, activities and snapshots have no counterpart."""

    def __init__(self, accounting: Accounting) -> None:
        self._accounting = accounting
        self._tool_calls = ToolCallAssembler(accounting)
        self._readers: dict[str, Callable[[t.Any], Sequence[Event]]] = {
            "TEXT_MESSAGE_CONTENT": text,
            "TEXT_MESSAGE_CHUNK": text,
            "REASONING_MESSAGE_CONTENT": reasoning,
            "REASONING_MESSAGE_CHUNK": reasoning,
            "THINKING_TEXT_MESSAGE_CONTENT": reasoning,
            "TOOL_CALL_START": self._call,
            "TOOL_CALL_ARGS": lambda e: self._tool_calls.part(e.tool_call_id, arguments=e.delta),
            "TOOL_CALL_CHUNK": self._call,
            "TOOL_CALL_END": lambda e: self._tool_calls.end(e.tool_call_id),
            "TOOL_CALL_RESULT": self._result,
            "STEP_STARTED": lambda e: [StepStarted(e.step_name)],
            "STEP_FINISHED": lambda e: [StepFinished(e.step_name)],
            "CUSTOM": lambda e: [Data(name_of(e.name), plain(e.value))],
            "RUN_FINISHED": self._finished,
            "RUN_ERROR": raise_reported,
        }

    def events(self, chunk: t.Any) -> Sequence[Event]:
        read = self._readers.get(chunk.type)
        return read(chunk) if read else ()

    @property
    def incomplete(self) -> bool:
        return False  # These events are worded from a framework's, which invents its ends.

    def done(self) -> Sequence[Event]:
        return ()

    def close(self) -> Sequence[Event]:
        return self._tool_calls.end_complete()

    def _call(self, event: t.Any) -> Sequence[Event]:
        id = event.tool_call_id
        return self._tool_calls.part(id, id, event.tool_call_name, getattr(event, "delta", None))

    def _result(self, event: t.Any) -> Sequence[Event]:
        """The content is text, of JSON where the tool's result was more than that."""
        content = event.content
        try:
            result = json.loads(content)
        except (TypeError, ValueError):
            result = plain(content)
        return [*self._tool_calls.end_all(), ToolResult(event.tool_call_id, result)]

    def _finished(self, event: t.Any) -> Sequence[Event]:
        events = self._tool_calls.end_all()
        if usage := getattr(event, "usage", None):
            events += self._accounting.used(event.run_id, added(used(entry) for entry in usage))
        return [*events, Finished()]


def text(chunk: t.Any) -> Sequence[Event]:
    return (chunk.delta,) if chunk.delta else ()


def reasoning(chunk: t.Any) -> Sequence[Event]:
    return (Reasoning(chunk.delta),) if chunk.delta else ()


def used(entry: t.Any) -> Usage:
    return Usage(
        input_tokens=getattr(entry, "input_tokens", None),
        output_tokens=getattr(entry, "output_tokens", None),
        reasoning_tokens=getattr(entry, "reasoning_tokens", None),
        cached_tokens=getattr(entry, "cached_input_tokens", None),
    )


def name_of(name: str) -> str:
    """``name`` in the letters that every protocol allows."""
    return re.sub("[^A-Za-z0-9_-]", "-", name) or "data"
