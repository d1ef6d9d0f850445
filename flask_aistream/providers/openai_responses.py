"""OpenAI Responses: stream events (raw or of ``.stream()``) and whole responses.

An answer is a list of items; each is added, grows, and is done. Tools that OpenAI runs itself are items
too, and become tool calls with their results.
"""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Sequence

from flask_aistream.core.events import Event
from flask_aistream.core.events import File
from flask_aistream.core.events import Finished
from flask_aistream.core.events import Reasoning
from flask_aistream.core.events import ToolCall
from flask_aistream.core.events import ToolError
from flask_aistream.core.events import ToolResult
from flask_aistream.core.events import Usage
from flask_aistream.providers.accounting import Accounting
from flask_aistream.providers.base import AnswerState
from flask_aistream.providers.failure import raise_if_error
from flask_aistream.providers.failure import raise_reported
from flask_aistream.providers.finish import reason_of
from flask_aistream.providers.plain import Fields
from flask_aistream.providers.plain import count_of
from flask_aistream.providers.plain import data_url
from flask_aistream.providers.plain import field_of
from flask_aistream.providers.plain import fields_of
from flask_aistream.providers.plain import items_of
from flask_aistream.providers.plain import plain
from flask_aistream.providers.plain import text_of
from flask_aistream.providers.tool_calls import ToolCallAssembler

# Tools that OpenAI runs; the calls of all others wait for the application.
HOSTED = {
    "web_search_call",
    "file_search_call",
    "code_interpreter_call",
    "image_generation_call",
    "mcp_call",
}
# Names of the field with a call's arguments; the first one that exists counts.
ARGUMENTS = ("arguments", "input", "action", "operation")
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
    """The end markers are ``response.completed``, ``.incomplete`` and ``.failed``."""

    def __init__(self, accounting: Accounting) -> None:
        self._accounting = accounting
        self._tool_calls = ToolCallAssembler(accounting)
        self.answer = AnswerState(accounting)
        self._waiting = False
        self._text = Repeated()
        self._reasoning = Repeated()
        self._items: set[str] = set()  # Calls whose items are done.
        self._events: dict[str, Callable[[Fields], Sequence[Event]]] = {
            "response.output_text.delta": self._text_delta,
            "response.refusal.delta": self._text_delta,
            "response.audio.transcript.delta": self._text_delta,
            "response.output_text.done": self._text_done,
            "response.refusal.done": self._text_done,
            "response.reasoning_text.delta": self._reasoning_delta,
            "response.reasoning_summary_text.delta": self._reasoning_delta,
            "response.reasoning_summary_part.added": paragraph,
            "response.output_text.annotation.added": self._annotation_added,
            "response.output_item.added": self._item_added,
            "response.function_call_arguments.delta": self._arguments,
            "response.custom_tool_call_input.delta": self._arguments,
            "response.mcp_call_arguments.delta": self._arguments,
            "response.function_call_arguments.done": self._arguments_done,
            "response.custom_tool_call_input.done": self._arguments_done,
            "response.mcp_call_arguments.done": self._arguments_done,
            "response.output_item.done": self._item_done,
        }

    @property
    def incomplete(self) -> bool:
        return self.answer.incomplete

    def events(self, chunk: t.Any) -> Sequence[Event]:
        fields = fields_of(chunk)
        kind = fields.get("type")
        if not isinstance(kind, str):
            if fields.get("output") is None and fields.get("status") is None:
                raise_if_error(fields)
            return self._whole(fields)
        if self.answer.over and kind != "response.created":
            return ()
        if kind in ENDS:
            return self._ended(fields_of(fields.get("response")), ENDS[kind])
        if kind == "error" or kind.endswith(".error"):
            raise_reported(fields)
        read = self._events.get(kind)
        events = read(fields) if read else ()
        if not self.answer.open:
            if kind == "response.created":
                self.answer.renew()
            elif events or not self.answer.begun:
                self.answer.begin()
        return events

    def done(self) -> Sequence[Event]:
        """``[DONE]``, which some servers send instead."""
        return self._ended({}, "completed") if self.answer.open else ()

    def close(self) -> Sequence[Event]:
        return ()

    def _item_added(self, event: Fields) -> Sequence[Event]:
        item = fields_of(event.get("item"))
        name = name_of(item)
        if name is None:
            return ()
        index, free_text = event.get("output_index"), is_free_text(item)
        return self._tool_calls.part(index, call_id(item), name, free_text=free_text)

    def _arguments(self, event: Fields) -> Sequence[Event]:
        return self._tool_calls.part(event.get("output_index"), arguments=event.get("delta"))

    def _arguments_done(self, event: Fields) -> Sequence[Event]:
        arguments = event.get("arguments") or event.get("input")
        return self._tool_calls.fill(event.get("output_index"), arguments)

    def _text_delta(self, event: Fields) -> Sequence[Event]:
        events = text(event)
        return events if events and self._text.comes_from("deltas") else ()

    def _text_done(self, event: Fields) -> Sequence[Event]:
        value = text_of(event.get("text")) or text_of(event.get("refusal"))
        return (value,) if value and self._text.comes_from("parts") else ()

    def _reasoning_delta(self, event: Fields) -> Sequence[Event]:
        events = reasoning(event)
        return events if events and self._reasoning.comes_from("deltas") else ()

    def _item_done(self, event: Fields) -> Sequence[Event]:
        return self._item(fields_of(event.get("item")), "items")

    def _item(self, item: Fields, source: str) -> list[Event]:
        """Translate a complete item. Its text and reasoning are skipped if they were streamed before.

        :param source: Where the item was found; see :class:`Repeated`.
        """
        kind = item.get("type")
        if kind == "message":
            return self._message(item, with_text=self._text.comes_from(source))
        if kind == "reasoning":
            return thoughts(item) if self._reasoning.comes_from(source) else []
        name = name_of(item)
        if name is None:
            return output(item)
        if call_id(item) in self._items:
            return []
        self._items.add(call_id(item))
        self._waiting = self._waiting or item.get("type") not in HOSTED
        events = self._tool_calls.whole(
            call_id(item), name, arguments_of(item), free_text=is_free_text(item)
        )
        return events + results(item)

    def _annotation_added(self, event: Fields) -> Sequence[Event]:
        return self._annotation(event.get("annotation"))

    def _annotation(self, annotation: t.Any) -> Sequence[Event]:
        fields = fields_of(annotation)
        if fields.get("type") == "url_citation":
            return self._accounting.url(fields.get("url"), fields.get("title"))
        file = text_of(fields.get("file_id"))
        if not file:
            return ()
        name = text_of(fields.get("filename")) or file
        media_type = MEDIA_TYPES.get(name.rpartition(".")[2].lower(), "application/octet-stream")
        return self._accounting.document(file, name, media_type, name)

    def _ended(self, response: Fields, status: str) -> list[Event]:
        """
        :param status: The default, by the type of the event.
        """
        if not self.answer.open:
            self.answer.renew()
        events: list[Event] = []
        if status == "completed":
            for item in items_of(response.get("output")):
                events += self._item(fields_of(item), "response")
        called = self._tool_calls.end_all()
        self._waiting = self._waiting or any(isinstance(it, ToolCall) for it in called)
        events += called
        if status != "failed":
            status = response.get("status") or status
        return events + self._outcome(response, status)

    def _outcome(self, response: Fields, status: t.Any) -> list[Event]:
        self._text, self._reasoning, self._items = Repeated(), Repeated(), set()
        waiting, self._waiting = self._waiting, False
        self.answer.end(last=True)
        if status == "failed":
            raise_reported(response)
        events: list[Event] = []
        if usage := response.get("usage"):
            events += self._accounting.used(self.answer.call, used(usage))
        if status in ("incomplete", "cancelled"):
            reason = field_of(response.get("incomplete_details"), "reason")
            return [*events, Finished(reason_of(reason))]
        items = items_of(response.get("output"))
        # Some servers omit the output, whose items they have streamed.
        waiting = waits(items) if items else waiting
        return [*events, Finished("tool-calls" if waiting else "stop")]

    def _whole(self, response: Fields) -> Sequence[Event]:
        """A response that was not streamed."""
        self.answer.renew()
        events: list[Event] = []
        for item in items_of(response.get("output")):
            events += self._item(fields_of(item), "response")
        status = response.get("status")
        if status in ("queued", "in_progress"):
            return events
        return events + self._outcome(response, status)

    def _message(self, item: Fields, *, with_text: bool) -> list[Event]:
        events: list[Event] = []
        for it in items_of(item.get("content")):
            part = fields_of(it)
            content = text_of(part.get("text")) or text_of(part.get("refusal"))
            if content and with_text:
                events.append(content)
            for annotation in items_of(part.get("annotations")):
                events += self._annotation(annotation)
        return events


class Repeated:
    """Chooses one source of a text that a response repeats in deltas, parts, items, and in the response at its end. Some
    servers omit the first of these."""

    __slots__ = ("_source",)

    def __init__(self) -> None:
        self._source = ""

    def comes_from(self, source: str) -> bool:
        """Whether to read ``source``: the first source of the answer is read, and no other."""
        if not self._source:
            self._source = source
        return self._source == source


ENDS = {
    "response.completed": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
    "response.cancelled": "cancelled",
}


def text(event: Fields) -> Sequence[Event]:
    delta = event.get("delta")
    return (delta,) if isinstance(delta, str) and delta else ()


def reasoning(event: Fields) -> Sequence[Event]:
    delta = text_of(event.get("delta"))
    return (Reasoning(delta),) if delta else ()


def paragraph(event: Fields) -> Sequence[Event]:
    """Summaries are streamed in parts that do not end with a line break."""
    return (Reasoning("\n\n"),) if event.get("summary_index") else ()


def thoughts(item: Fields) -> list[Event]:
    parts = items_of(item.get("content")) or items_of(item.get("summary"))
    joined = "\n\n".join(text_of(field_of(part, "text")) for part in parts)
    return [Reasoning(joined)] if joined else []


def name_of(item: Fields) -> str | None:
    """The tool's name; ``None`` for an item that is no call. Hosted tools are named by their type."""
    kind = text_of(item.get("type"))
    if not kind.endswith("_call"):
        return None
    return str(item.get("name") or kind.removesuffix("_call"))


def call_id(item: Fields) -> str:
    return str(item.get("call_id") or item.get("id"))


def is_free_text(item: Fields) -> bool:
    kind: object = item.get("type")
    return kind == "custom_tool_call"


def arguments_of(item: Fields) -> t.Any:
    """JSON text of a function's arguments, a custom tool's text, or a hosted tool's own fields."""
    for name in ARGUMENTS:
        value = item.get(name)
        if value is not None:
            return value
    named = {name: item.get(name) for name in ("queries", "code")}
    return {name: value for name, value in named.items() if value is not None}


def waits(items: t.Sequence[t.Any]) -> bool:
    """Whether the application is to answer a call before the model can go on."""
    fields = [fields_of(item) for item in items]
    asked = {call_id(it) for it in fields if name_of(it) and it.get("type") not in HOSTED}
    return bool(asked - {it.get("call_id") for it in fields if not name_of(it)})


def output(item: Fields) -> list[Event]:
    """The answer of a tool, where that is an item of its own (``shell_call_output`` …)."""
    if text_of(item.get("type")).endswith("_call_output"):
        return [ToolResult(text_of(item.get("call_id")), plain(item.get("output")))]
    return []


def results(item: Fields) -> list[Event]:
    """The result of a hosted tool; an empty one if the item does not contain it."""
    kind = item.get("type")
    if kind not in HOSTED:
        return []
    if item.get("error") or item.get("status") == "failed":
        return [ToolError(call_id(item), "The tool failed.")]
    if kind == "image_generation_call":
        media_type = f"image/{item.get('output_format') or 'png'}"
        image = item.get("result")
        files: list[Event] = [File(data_url(media_type, image), media_type)] if image else []
        return [ToolResult(call_id(item), {"status": "completed"}), *files]
    values = (item.get(name) for name in ("output", "outputs", "results"))
    result = next((plain(value) for value in values if value is not None), {"status": "completed"})
    return [ToolResult(call_id(item), result)]


def used(usage: t.Any) -> Usage:
    return Usage(
        input_tokens=count_of(usage, "input_tokens"),
        output_tokens=count_of(usage, "output_tokens"),
        reasoning_tokens=count_of(field_of(usage, "output_tokens_details"), "reasoning_tokens"),
        cached_tokens=count_of(field_of(usage, "input_tokens_details"), "cached_tokens"),
    )
