"""OpenAI Responses: stream events (raw or of ``.stream()``) and whole responses.

An answer is a list of items; each is added, grows, and is done. Tools that OpenAI runs itself are items
too, and are told as tool calls with their results.
"""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Sequence

from flask_aistream.core.events import Event
from flask_aistream.core.events import File
from flask_aistream.core.events import Finished
from flask_aistream.core.events import Reasoning
from flask_aistream.core.events import ToolError
from flask_aistream.core.events import ToolResult
from flask_aistream.core.events import Usage
from flask_aistream.providers.accounting import Accounting
from flask_aistream.providers.failure import failed
from flask_aistream.providers.finish import reason_of
from flask_aistream.providers.plain import data_url
from flask_aistream.providers.plain import field_of
from flask_aistream.providers.plain import plain
from flask_aistream.providers.plain import readable
from flask_aistream.providers.tool_calls import ToolCallAssembler

# Tools that OpenAI runs; the calls of all others wait for the application.
HOSTED = {
    "web_search_call",
    "file_search_call",
    "code_interpreter_call",
    "image_generation_call",
    "mcp_call",
}
# What an item's call was given, by the names its type uses; the first that is there counts.
GIVEN = ("arguments", "input", "action", "operation")
MEDIA_TYPES = {
    "pdf": "application/pdf",
    "csv": "text/csv",
    "html": "text/html",
    "json": "application/json",
    "md": "text/markdown",
    "png": "image/png",
    "txt": "text/plain",
}


class ResponsesAdapter:
    def __init__(self, accounting: Accounting) -> None:
        self._accounting = accounting
        self._tool_call_assembler = ToolCallAssembler(accounting)
        self._says: dict[str, Callable[[t.Any], Sequence[Event]]] = {
            "response.output_text.delta": text,
            "response.refusal.delta": text,
            "response.audio.transcript.delta": text,
            "response.reasoning_text.delta": reasoning,
            "response.reasoning_summary_text.delta": reasoning,
            "response.reasoning_summary_part.added": paragraph,
            "response.output_text.annotation.added": self._annotation_added,
            "response.output_item.added": self._item_added,
            "response.function_call_arguments.delta": self._arguments,
            "response.custom_tool_call_input.delta": self._arguments,
            "response.mcp_call_arguments.delta": self._arguments,
            "response.output_item.done": self._item_done,
            "response.completed": self._ended,
            "response.incomplete": self._ended,
            "response.failed": self._ended,
            "error": failed,
        }

    def events(self, chunk: t.Any) -> Sequence[Event]:
        kind = getattr(chunk, "type", None)
        if kind is None:
            return self._whole(chunk)
        say = self._says.get(kind)
        return say(chunk) if say else ()

    def close(self) -> Sequence[Event]:
        return self._tool_call_assembler.end_all()

    def _item_added(self, event: t.Any) -> Sequence[Event]:
        item = readable(event.item)
        name = name_of(item)
        if name is None:
            return ()
        return self._tool_call_assembler.part(event.output_index, call_id(item), name)

    def _arguments(self, event: t.Any) -> Sequence[Event]:
        return self._tool_call_assembler.part(event.output_index, arguments=event.delta)

    def _item_done(self, event: t.Any) -> Sequence[Event]:
        # Text, thoughts and citations of the item have been told as deltas.
        return self._call(readable(event.item))

    def _call(self, item: t.Any) -> list[Event]:
        name = name_of(item)
        if name is None:
            return self._output(item)
        said = self._tool_call_assembler.whole(call_id(item), name, given(item))
        return said + results(item)

    def _output(self, item: t.Any) -> list[Event]:
        """What a tool answered, where that is an item of its own (``shell_call_output`` …)."""
        if item.type.endswith("_call_output"):
            return [ToolResult(item.call_id, plain(field_of(item, "output")))]
        return []

    def _annotation_added(self, event: t.Any) -> Sequence[Event]:
        return self._annotation(event.annotation)

    def _annotation(self, annotation: t.Any) -> Sequence[Event]:
        if field_of(annotation, "type") == "url_citation":
            return self._accounting.url(field_of(annotation, "url"), field_of(annotation, "title"))
        file = field_of(annotation, "file_id")
        if not file:
            return ()
        name = field_of(annotation, "filename") or file
        media_type = MEDIA_TYPES.get(name.rpartition(".")[2].lower(), "application/octet-stream")
        return self._accounting.document(file, name, media_type, name)

    def _ended(self, event: t.Any) -> Sequence[Event]:
        return [*self._tool_call_assembler.end_all(), *self._outcome(readable(event.response))]

    def _outcome(self, response: t.Any) -> list[Event]:
        status = getattr(response, "status", None)
        if status == "failed":
            failed(response)
        said: list[Event] = []
        if usage := getattr(response, "usage", None):
            said += self._accounting.used(response.id, used(usage))
        if status == "completed":
            said.append(Finished("tool-calls" if waits(items_of(response)) else "stop"))
        elif status in ("incomplete", "cancelled"):
            reason = field_of(getattr(response, "incomplete_details", None), "reason")
            said.append(Finished(reason_of(reason)))
        return said

    def _whole(self, response: t.Any) -> Sequence[Event]:
        said: list[Event] = []
        for item in items_of(response):
            if item.type == "message":
                said += self._message(item)
            elif item.type == "reasoning":
                said += thoughts(item)
            else:
                said += self._call(item)
        return said + self._outcome(response)

    def _message(self, item: t.Any) -> list[Event]:
        said: list[Event] = []
        for part in map(readable, item.content):
            words = getattr(part, "text", None) or getattr(part, "refusal", None)
            said += [words] if words else []
            for annotation in getattr(part, "annotations", None) or ():
                said += self._annotation(annotation)
        return said


def text(event: t.Any) -> Sequence[Event]:
    return (event.delta,) if event.delta else ()


def reasoning(event: t.Any) -> Sequence[Event]:
    return (Reasoning(event.delta),) if event.delta else ()


def paragraph(event: t.Any) -> Sequence[Event]:
    """Summaries come in parts that do not end with a line break."""
    return (Reasoning("\n\n"),) if event.summary_index else ()


def thoughts(item: t.Any) -> list[Event]:
    parts = getattr(item, "content", None) or item.summary or ()
    said = "\n\n".join(field_of(part, "text") for part in parts)
    return [Reasoning(said)] if said else []


def items_of(response: t.Any) -> list[t.Any]:
    """Of any type: those that an SDK is too old to know, it leaves as dicts."""
    return [readable(item) for item in response.output]


def name_of(item: t.Any) -> str | None:
    """The tool's name; ``None`` for an item that is no call. Hosted tools are named by their type."""
    if not item.type.endswith("_call"):
        return None
    return str(getattr(item, "name", None) or item.type.removesuffix("_call"))


def call_id(item: t.Any) -> str:
    return str(getattr(item, "call_id", None) or item.id)


def given(item: t.Any) -> t.Any:
    """What the call was given: JSON text of a function, or a hosted tool's own fields."""
    for name in GIVEN:
        value = getattr(item, name, None)
        if value is not None:
            return value
    named = {name: getattr(item, name, None) for name in ("queries", "code")}
    return {name: value for name, value in named.items() if value is not None}


def waits(items: t.Any) -> bool:
    """Whether the application is to answer a call before the model can go on."""
    asked = {call_id(item) for item in items if name_of(item) and item.type not in HOSTED}
    return bool(asked - {getattr(item, "call_id", None) for item in items if not name_of(item)})


def results(item: t.Any) -> list[Event]:
    """What a hosted tool answered; that it did, where the item does not say what."""
    if item.type not in HOSTED:
        return []
    if getattr(item, "error", None) or getattr(item, "status", None) == "failed":
        return [ToolError(call_id(item), "The tool failed.")]
    if item.type == "image_generation_call":
        media_type = f"image/{getattr(item, 'output_format', None) or 'png'}"
        files: list[Event] = (
            [File(data_url(media_type, item.result), media_type)] if item.result else []
        )
        return [ToolResult(call_id(item), {"status": "completed"}), *files]
    values = (getattr(item, name, None) for name in ("output", "outputs", "results"))
    result = next((plain(value) for value in values if value is not None), {"status": "completed"})
    return [ToolResult(call_id(item), result)]


def used(usage: t.Any) -> Usage:
    return Usage(
        input_tokens=field_of(usage, "input_tokens"),
        output_tokens=field_of(usage, "output_tokens"),
        reasoning_tokens=field_of(field_of(usage, "output_tokens_details"), "reasoning_tokens"),
        cached_tokens=field_of(field_of(usage, "input_tokens_details"), "cached_tokens"),
    )
