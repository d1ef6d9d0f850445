"""Anthropic Messages: raw stream events, the events of ``.stream()`` and whole messages.

An answer is a list of numbered content blocks that start, grow and stop. Tools that Anthropic runs
itself have a block for the call and one for the result.
"""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Sequence

from flask_aistream.core.events import Event
from flask_aistream.core.events import Finished
from flask_aistream.core.events import Reasoning
from flask_aistream.core.events import ToolError
from flask_aistream.core.events import ToolResult
from flask_aistream.core.events import Usage
from flask_aistream.providers.accounting import Accounting
from flask_aistream.providers.base import AnswerState
from flask_aistream.providers.failure import raise_reported
from flask_aistream.providers.finish import reason_of
from flask_aistream.providers.plain import Fields
from flask_aistream.providers.plain import count_of
from flask_aistream.providers.plain import field_of
from flask_aistream.providers.plain import fields_of
from flask_aistream.providers.plain import items_of
from flask_aistream.providers.plain import plain
from flask_aistream.providers.plain import text_of
from flask_aistream.providers.tool_calls import ToolCallAssembler

COUNTS = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
)
STARTS = ("message_start", "message")
# The kind of a citation's location → the media type of the document.
MEDIA_TYPES = {"page_location": "application/pdf"}


class AnthropicAdapter:
    """The end markers are a stop reason and ``message_stop``."""

    def __init__(self, accounting: Accounting) -> None:
        self._accounting = accounting
        self._tool_calls = ToolCallAssembler(accounting)
        self.answer = AnswerState(accounting)
        self._counts: dict[str, int] = {}
        self._unanswered = False  # A call for the application to answer; servers that copy the wire
        # report "end_turn" beside it.
        self._saw_deltas = False
        self._events: dict[t.Any, Callable[[Fields], Sequence[Event]]] = {
            "content_block_delta": self._block_delta,
            "message_start": self._message_start,
            "content_block_start": self._block_start,
            "content_block_stop": self._block_stop,
            "message_delta": self._message_delta,
            "message_stop": self._message_stop,
            "message": self._whole,
            "error": raise_reported,
            "text": self._helper,
            "thinking": self._helper,
            "input_json": self._helper,
            "citation": self._helper,
        }

    @property
    def incomplete(self) -> bool:
        return self.answer.incomplete

    def events(self, chunk: t.Any) -> Sequence[Event]:
        fields = fields_of(chunk)
        kind = fields.get("type")
        read = self._events.get(kind) if isinstance(kind, str) else None
        if read is None:
            if fields.get("error"):
                raise_reported(fields)
            return ()
        if self.answer.over and kind not in STARTS:
            return ()
        return read(fields)

    def done(self) -> Sequence[Event]:
        self.answer.end()
        return self._tool_calls.end_all()

    def close(self) -> Sequence[Event]:
        return ()

    def _block_delta(self, event: Fields) -> Sequence[Event]:
        if not self.answer.open:
            self.answer.begin()
        self._saw_deltas = True
        delta = fields_of(event.get("delta"))
        match delta.get("type"):
            case "text_delta":
                return text(delta)
            case "thinking_delta":
                return thinking(delta)
            case "input_json_delta":
                part = delta.get("partial_json")
                return self._tool_calls.part(event.get("index"), arguments=part)
            case "citations_delta":
                return self._cited(delta.get("citation"))
            case _:
                return ()

    def _message_start(self, event: Fields) -> Sequence[Event]:
        self.answer.renew()
        self._unanswered = False
        self._counts = {}
        return self._used(field_of(event.get("message"), "usage"))

    def _block_start(self, event: Fields) -> Sequence[Event]:
        self.answer.begin()
        return self._block(fields_of(event.get("content_block")), event.get("index"))

    def _block(self, block: Fields, key: t.Any) -> list[Event]:
        """The start of a block; of a message that is not streamed, all of it."""
        kind = text_of(block.get("type"))
        if kind == "text":
            events: list[Event] = [*text(block)]
            for citation in items_of(block.get("citations")):
                events += self._cited(citation)
            return events
        if kind == "thinking":
            return [*thinking(block)]
        if kind.endswith("tool_use"):  # Also server_tool_use and mcp_tool_use.
            self._unanswered = self._unanswered or kind == "tool_use"
            return self._tool_calls.part(
                key, block.get("id"), block.get("name"), block.get("input")
            )
        if kind.endswith("tool_result"):
            return [result(block)]
        return []

    def _block_stop(self, event: Fields) -> Sequence[Event]:
        return self._tool_calls.end(event.get("index"))

    def _message_delta(self, event: Fields) -> Sequence[Event]:
        if not self.answer.begun:
            self.answer.begin()
        events = self._used(event.get("usage"))
        reason = field_of(event.get("delta"), "stop_reason")
        return [*events, *self._finish(reason)] if reason else events

    def _message_stop(self, event: Fields) -> Sequence[Event]:
        """Without a stop reason before it, which a proxy may have dropped, it is the only end marker."""
        events = self._finish("end_turn") if self.answer.incomplete else ()
        self.answer.end(last=True)
        return events

    def _finish(self, reason: t.Any) -> list[Event]:
        self.answer.end()
        events = self._tool_calls.end_all()  # Some servers do not stop their blocks.
        word = reason_of(reason)
        return [*events, Finished("tool-calls" if word == "stop" and self._unanswered else word)]

    def _whole(self, message: Fields) -> Sequence[Event]:
        events: list[Event] = []
        self.answer.renew()
        for item in items_of(message.get("content")):
            block = fields_of(item)
            if text_of(block.get("type")).endswith("tool_use"):
                name = text_of(block.get("name"))
                events += self._tool_calls.whole(block.get("id"), name, block.get("input"))
            else:
                events += self._block(block, None)
        self._counts = {}
        events += self._used(message.get("usage"))
        reason = message.get("stop_reason")
        self.answer.end()
        return [*events, Finished(reason_of(reason))] if reason else events

    def _helper(self, event: Fields) -> Sequence[Event]:
        """The events ``.stream()`` adds, each after the raw one that it repeats.

        They count only where an application passes on those alone.
        """
        if self._saw_deltas:
            return ()
        self.answer.begin()
        match event.get("type"):
            case "text":
                return text(event)
            case "thinking":
                return thinking(event)
            case "citation":
                return self._cited(event.get("citation"))
            case _:
                return self._tool_calls.part(None, arguments=event.get("partial_json"))

    def _used(self, usage: t.Any) -> Sequence[Event]:
        """Counts are of the message so far, and a later report may leave some out."""
        if usage is None:
            return ()
        for name in COUNTS:
            count = count_of(usage, name)
            if count is not None:
                self._counts[name] = count
        counts = self._counts
        # The vendor counts cache reads and writes separately.
        parts = [counts[name] for name in COUNTS[:3] if name in counts]
        return self._accounting.used(
            self.answer.call,
            Usage(
                input_tokens=sum(parts) if parts else None,
                output_tokens=counts.get("output_tokens"),
                reasoning_tokens=count_of(
                    field_of(usage, "output_tokens_details"), "thinking_tokens"
                ),
                cached_tokens=counts.get("cache_read_input_tokens"),
            ),
        )

    def _cited(self, citation: t.Any) -> Sequence[Event]:
        fields = fields_of(citation)
        url = text_of(fields.get("url") or fields.get("source"))
        if url.startswith(("https:", "http:")):
            return self._accounting.url(url, fields.get("title"))
        index = count_of(fields, "document_index")
        title = text_of(fields.get("document_title") or fields.get("title"))
        media_type = MEDIA_TYPES.get(text_of(fields.get("type")), "text/plain")
        name = title or url or f"Document {(index or 0) + 1}"
        return self._accounting.document(f"document {index} {name}", name, media_type)


def text(fields: Fields) -> Sequence[Event]:
    value = fields.get("text")
    return (value,) if isinstance(value, str) and value else ()


def thinking(fields: Fields) -> Sequence[Event]:
    value = text_of(fields.get("thinking"))
    return (Reasoning(value),) if value else ()


def result(block: Fields) -> Event:
    """The answer of a tool that Anthropic ran."""
    id, content = text_of(block.get("tool_use_id")), block.get("content")
    if text_of(field_of(content, "type")).endswith("_error") or block.get("is_error"):
        code = field_of(content, "error_code")
        because = f": {code}" if code else ""
        return ToolError(id, f"The tool failed{because}.")
    return ToolResult(id, plain(content))
