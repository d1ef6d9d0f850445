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
from flask_aistream.providers.failure import failed
from flask_aistream.providers.finish import reason_of
from flask_aistream.providers.plain import field_of
from flask_aistream.providers.plain import plain
from flask_aistream.providers.tool_calls import ToolCallAssembler

COUNTS = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
)
# Where in a document a citation points tells what kind of document it is.
MEDIA_TYPES = {"page_location": "application/pdf"}


class AnthropicAdapter:
    def __init__(self, accounting: Accounting) -> None:
        self._accounting = accounting
        self._tool_call_assembler = ToolCallAssembler(accounting)
        self._message = ""
        self._counts: dict[str, t.Any] = {}
        self._saw_deltas = False
        self._says: dict[str, Callable[[t.Any], Sequence[Event]]] = {
            "content_block_delta": self._block_delta,
            "message_start": self._message_start,
            "content_block_start": self._block_start,
            "content_block_stop": self._block_stop,
            "message_delta": self._message_delta,
            "message": self._whole,
            "error": failed,
            "text": self._helper,
            "thinking": self._helper,
            "input_json": self._helper,
            "citation": self._helper,
        }
        self._deltas: dict[str, Callable[[t.Any, t.Any], Sequence[Event]]] = {
            "text_delta": lambda delta, key: text(delta),
            "thinking_delta": lambda delta, key: thinking(delta),
            "input_json_delta": self._input_json,
            "citations_delta": lambda delta, key: self._cited(delta.citation),
        }

    def events(self, chunk: t.Any) -> Sequence[Event]:
        say = self._says.get(chunk.type)
        return say(chunk) if say else ()

    def close(self) -> Sequence[Event]:
        return self._tool_call_assembler.end_all()

    def _block_delta(self, event: t.Any) -> Sequence[Event]:
        self._saw_deltas = True
        say = self._deltas.get(event.delta.type)
        return say(event.delta, event.index) if say else ()

    def _message_start(self, event: t.Any) -> Sequence[Event]:
        self._message = event.message.id
        self._counts = {}
        return self._used(event.message.usage)

    def _block_start(self, event: t.Any) -> Sequence[Event]:
        return self._block(event.content_block, event.index)

    def _block(self, block: t.Any, key: t.Any) -> list[Event]:
        """What a block says when it starts; which is all, in a message that is not streamed."""
        if block.type == "text":
            said: list[Event] = [*text(block)]
            for citation in getattr(block, "citations", None) or ():
                said += self._cited(citation)
            return said
        if block.type == "thinking":
            return [*thinking(block)]
        if block.type.endswith("tool_use"):  # Also server_tool_use and mcp_tool_use.
            return self._tool_call_assembler.part(key, block.id, block.name, block.input)
        if block.type.endswith("tool_result"):
            return [result(block)]
        return []

    def _block_stop(self, event: t.Any) -> Sequence[Event]:
        return self._tool_call_assembler.end(event.index)

    def _input_json(self, delta: t.Any, key: t.Any) -> Sequence[Event]:
        return self._tool_call_assembler.part(key, arguments=delta.partial_json)

    def _message_delta(self, event: t.Any) -> Sequence[Event]:
        said = list(self._used(event.usage))
        return said + finished(event.delta.stop_reason)

    def _whole(self, message: t.Any) -> Sequence[Event]:
        said: list[Event] = []
        for block in message.content:
            if block.type.endswith("tool_use"):
                said += self._tool_call_assembler.whole(block.id, block.name, block.input)
            else:
                said += self._block(block, None)
        self._message, self._counts = message.id, {}
        said += self._used(message.usage)
        return said + finished(message.stop_reason)

    def _helper(self, event: t.Any) -> Sequence[Event]:
        """The events ``.stream()`` adds, each after the raw one that says the same.

        They count only where an application passes on those alone.
        """
        if self._saw_deltas:
            return ()
        match event.type:
            case "text":
                return text(event)
            case "thinking":
                return thinking(event)
            case "citation":
                return self._cited(event.citation)
            case _:
                return self._tool_call_assembler.part(None, arguments=event.partial_json)

    def _used(self, usage: t.Any) -> Sequence[Event]:
        """Counts are of the message so far, and a later report may leave some out."""
        for name in COUNTS:
            count = field_of(usage, name)
            if count is not None:
                self._counts[name] = count
        counts = self._counts
        cached = counts.get("cache_read_input_tokens")
        # The vendor counts what was read from, and written to, the cache apart.
        parts = [counts[name] for name in COUNTS[:3] if name in counts]
        details = field_of(usage, "output_tokens_details")
        return self._accounting.used(
            self._message,
            Usage(
                input_tokens=sum(parts) if parts else None,
                output_tokens=counts.get("output_tokens"),
                reasoning_tokens=field_of(details, "thinking_tokens"),
                cached_tokens=cached,
            ),
        )

    def _cited(self, citation: t.Any) -> Sequence[Event]:
        url = field_of(citation, "url") or field_of(citation, "source")
        if url and url.startswith(("https:", "http:")):
            return self._accounting.url(url, field_of(citation, "title"))
        index = field_of(citation, "document_index")
        title = field_of(citation, "document_title") or field_of(citation, "title")
        media_type = MEDIA_TYPES.get(citation.type, "text/plain")
        name = title or url or f"Document {(index or 0) + 1}"
        return self._accounting.document(f"document {index} {name}", name, media_type)


def text(value: t.Any) -> Sequence[Event]:
    return (value.text,) if value.text else ()


def thinking(value: t.Any) -> Sequence[Event]:
    return (Reasoning(value.thinking),) if value.thinking else ()


def finished(reason: str | None) -> list[Event]:
    return [Finished(reason_of(reason))] if reason else []


def result(block: t.Any) -> Event:
    """What a tool that Anthropic ran has answered."""
    content = block.content
    is_error = str(field_of(content, "type") or "").endswith("_error")
    if is_error or getattr(block, "is_error", False):
        code = field_of(content, "error_code")
        because = f": {code}" if code else ""
        return ToolError(block.tool_use_id, f"The tool failed{because}.")
    return ToolResult(block.tool_use_id, plain(content))
