"""LangChain and LangGraph: messages, message chunks, ``astream_events`` and graph streams.

A model's chunks share an id and may interleave with another's, where a graph runs nodes in parallel.
Providers of models differ in the blocks they put into ``content``; those that matter are in a table.
"""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Sequence

from flask_aistream.core.events import Data
from flask_aistream.core.events import Event
from flask_aistream.core.events import File
from flask_aistream.core.events import Finished
from flask_aistream.core.events import Reasoning
from flask_aistream.core.events import ToolError
from flask_aistream.core.events import ToolResult
from flask_aistream.core.events import Usage
from flask_aistream.errors import ChunkUnknown
from flask_aistream.providers.accounting import Accounting
from flask_aistream.providers.failure import failure
from flask_aistream.providers.finish import BROKEN
from flask_aistream.providers.finish import reason_of
from flask_aistream.providers.plain import data_url
from flask_aistream.providers.plain import field_of
from flask_aistream.providers.plain import plain
from flask_aistream.providers.tool_calls import Part
from flask_aistream.providers.tool_calls import ToolCallAssembler

# Where integrations read why the model stopped.
FINISH_KEYS = ("finish_reason", "stop_reason", "done_reason", "stopReason")
# Integrations that always send a finish reason: a message without one was cut off.
TRUTHFUL = {"anthropic", "google_genai", "ollama", "openai"}
CALLS = ("tool_call_chunks", "tool_calls", "invalid_tool_calls")
INTERRUPT = "__interrupt__"
MODES = {"values", "updates", "messages", "custom", "checkpoints", "tasks", "debug"}


class LangChainAdapter:
    def __init__(self, accounting: Accounting) -> None:
        self._accounting = accounting
        self._tool_calls = ToolCallAssembler(accounting, guess=True)
        self._streamed: set[str | None] = set()
        self._asking: set[str | None] = set()
        self._unfinished: set[str | None] = set()
        self._interrupts: set[str] = set()
        self._readers: dict[str, Callable[[dict[str, t.Any]], Sequence[Event]]] = {
            "on_chat_model_stream": lambda event: self.events(event["data"]["chunk"]),
            "on_llm_stream": lambda event: self.events(event["data"]["chunk"]),
            "on_chat_model_end": lambda event: self._model_ended(event["data"].get("output")),
            "on_tool_end": lambda event: self._tool_ended(event["data"].get("output")),
            "on_tool_error": self._tool_failed,
            "on_custom_event": lambda event: [Data(event["name"], plain(event["data"]))],
        }

    @property
    def incomplete(self) -> bool:
        return bool(self._unfinished)

    def done(self) -> Sequence[Event]:
        return ()

    def events(self, chunk: t.Any) -> Sequence[Event]:
        if isinstance(chunk, str):
            return (str(chunk),) if chunk else ()
        if isinstance(chunk, tuple):
            return self._graph_tuple(chunk)
        if isinstance(chunk, dict):
            if INTERRUPT in chunk:
                return self._interrupted(chunk[INTERRUPT])
            return (
                self._event(chunk) if "event" in chunk else self._mode(chunk["type"], chunk["data"])
            )
        match chunk.type:
            case "AIMessageChunk":
                self._streamed.add(chunk.id)
                if chunk.response_metadata.get("model_provider") in TRUTHFUL:
                    self._unfinished.add(chunk.id)
                return self._message(chunk)
            case "ai":
                return () if chunk.id and chunk.id in self._streamed else self._message(chunk)
            case "tool" | "ToolMessageChunk":
                return self._tool_message(chunk)
            case "ChatGeneration" | "ChatGenerationChunk":
                return self.events(chunk.message)
            case "Generation" | "GenerationChunk":  # A model that is no chat model.
                return (chunk.text,) if chunk.text else ()
            case _:  # Messages of users and of the system are not part of the answer.
                return ()

    def close(self) -> Sequence[Event]:
        return self._tool_calls.end_complete()

    def _message(self, message: t.Any) -> Sequence[Event]:
        events = self._content(message.content)
        thoughts = message.additional_kwargs.get("reasoning_content")
        if isinstance(thoughts, str) and thoughts:
            events.insert(0, Reasoning(thoughts))
        if any(getattr(message, name, None) for name in CALLS):
            self._asking.add(message.id)
            events += self._calls_of(message)
        ended = getattr(message, "chunk_position", None) == "last"
        finish = finished(message, message.id in self._asking) if message.response_metadata else []
        if finish:
            self._unfinished.discard(message.id)
        if finish or ended:
            events += self._tool_calls.end_all(message.id)
        events += finish
        if usage := getattr(message, "usage_metadata", None):
            events += self._accounting.used_more(str(message.id), used(usage))
        return events

    def _content(self, content: t.Any) -> list[Event]:
        if isinstance(content, str):
            return [content] if content else []
        events: list[Event] = []
        for block in content:
            events += [block] if isinstance(block, str) and block else self._block(block)
        return events

    def _block(self, block: t.Any) -> Sequence[Event]:
        read = BLOCKS.get(field_of(block, "type"))
        events = list(read(block)) if read else []
        for cite in field_of(block, "annotations") or field_of(block, "citations") or ():
            cite = field_of(cite, "url_citation") or cite
            events += self._accounting.url(field_of(cite, "url"), field_of(cite, "title"))
        return events

    def _calls_of(self, message: t.Any) -> list[Event]:
        events: list[Event] = []
        parts = getattr(message, "tool_call_chunks", None)
        if parts is None:
            # Invalid to LangChain are arguments that are no JSON object, or none.
            for call in (*message.tool_calls, *message.invalid_tool_calls):
                events += self._tool_calls.whole(call["id"], call["name"] or "", call["args"])
            return events
        chunk = [
            Part(it.get("index"), it.get("id"), it.get("name"), it.get("args")) for it in parts
        ]
        return events + self._tool_calls.parts(chunk, message.id)

    def _tool_message(self, message: t.Any) -> Sequence[Event]:
        events = self._tool_calls.end_all()
        if getattr(message, "status", None) == "error":
            return [*events, ToolError(message.tool_call_id, "The tool failed.")]
        return [*events, ToolResult(message.tool_call_id, plain(message.content))]

    def _event(self, event: dict[str, t.Any]) -> Sequence[Event]:
        """An event of ``astream_events(version="v2")``. Events of chains repeat those of models."""
        read = self._readers.get(event["event"])
        return read(event) if read else ()

    def _model_ended(self, output: t.Any) -> Sequence[Event]:
        """The whole answer; news only where the model did not stream it."""
        if not hasattr(output, "content") or output.id in self._streamed:
            return ()
        return self.events(output)

    def _tool_ended(self, output: t.Any) -> Sequence[Event]:
        """A message if a model called the tool. The bare result of a tool that the application called belongs to
        no tool call, and is dropped."""
        return self.events(output) if hasattr(output, "tool_call_id") else ()

    def _tool_failed(self, event: dict[str, t.Any]) -> Sequence[Event]:
        id = event["data"].get("tool_call_id")
        return (ToolError(id, "The tool failed."),) if id else ()

    def _graph_tuple(self, chunk: tuple[t.Any, ...]) -> Sequence[Event]:
        """``(message, metadata)``, ``(mode, data)`` of several modes, either with a namespace first."""
        *before, last = chunk
        mode = next((word for word in before if isinstance(word, str) and word in MODES), None)
        if mode:
            return self._mode(mode, last)
        if isinstance(last, tuple):
            return self.events(last)
        if not (len(chunk) == 2 and hasattr(chunk[0], "content")):
            raise ChunkUnknown(chunk)
        return self.events(chunk[0])

    def _mode(self, mode: str, data: t.Any) -> Sequence[Event]:
        """Other modes repeat the messages, or report the internals of the graph."""
        if mode == "messages":
            return self.events(data[0])
        if mode == "custom":
            return (str(data),) if isinstance(data, str) else (Data("custom", plain(data)),)
        if isinstance(data, dict) and INTERRUPT in data:
            return self._interrupted(data[INTERRUPT])
        return ()

    def _interrupted(self, interrupts: t.Any) -> list[Event]:
        """``interrupt()`` in a node: the graph waits for the application. Several modes repeat it."""
        events: list[Event] = []
        for interrupt in interrupts if isinstance(interrupts, list | tuple) else (interrupts,):
            id = str(field_of(interrupt, "id") or field_of(interrupt, "interrupt_id") or "")
            if id and id in self._interrupts:
                continue
            self._interrupts.add(id)
            events.append(Data("interrupt", plain(field_of(interrupt, "value")), id or None))
        return events


def finished(message: t.Any, asks: bool) -> list[Event]:
    metadata = message.response_metadata
    word = next((metadata[key] for key in FINISH_KEYS if metadata.get(key)), None)
    if isinstance(word, str) and word in BROKEN:
        raise failure(BROKEN[word])
    if word:
        return [Finished(reason_of(word))]
    # OpenAI's Responses have a status instead.
    match metadata.get("status"):
        case "completed":
            return [Finished("tool-calls" if asks else "stop")]
        case "incomplete":
            return [Finished(reason_of((metadata.get("incomplete_details") or {}).get("reason")))]
        case _:
            return []


def image(block: t.Any) -> list[Event]:
    """An image of OpenAI's image tool, in the Responses API."""
    media_type = f"image/{field_of(block, 'output_format') or 'png'}"
    result = field_of(block, "result")
    return [File(data_url(media_type, result), media_type)] if result else []


def text(block: t.Any) -> list[Event]:
    content = field_of(block, "text") or field_of(block, "refusal")
    return [content] if content else []


def reasoning(block: t.Any) -> list[Event]:
    """Anthropic: ``thinking``; standard: ``reasoning``; OpenAI: a ``summary``; Bedrock: nested."""
    nested = field_of(block, "reasoning_content")
    content = (
        field_of(block, "thinking") or field_of(block, "reasoning") or field_of(nested, "text")
    )
    if not content:
        content = "".join(field_of(part, "text") or "" for part in field_of(block, "summary") or ())
    return [Reasoning(content)] if content else []


def file(block: t.Any) -> list[Event]:
    """A URL, or base64 under one of two names, at the top or one level down."""
    url = field_of(block, "image_url")
    url = field_of(block, "url") or (url if isinstance(url, str) else field_of(url, "url"))
    kind = field_of(block, "type").removesuffix("_url")
    media_type = field_of(block, "mime_type") or f"{kind}/*"
    data = field_of(block, "base64") or field_of(block, "data")
    if data:
        url = data_url(media_type, data)
    return [File(url, media_type)] if url else []


BLOCKS: dict[t.Any, Callable[[t.Any], list[Event]]] = {
    "text": text,
    "output_text": text,
    "refusal": text,
    "thinking": reasoning,
    "reasoning": reasoning,
    "reasoning_content": reasoning,
    "image_generation_call": image,
    "image": file,
    "image_url": file,
    "audio": file,
    "video": file,
    "file": file,
}


def used(usage: t.Any) -> Usage:
    read = usage.get("input_token_details") or {}
    written = usage.get("output_token_details") or {}
    return Usage(
        input_tokens=usage.get("input_tokens"),
        output_tokens=usage.get("output_tokens"),
        reasoning_tokens=written.get("reasoning"),
        cached_tokens=read.get("cache_read"),
    )
