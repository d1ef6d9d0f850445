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
from flask_aistream.providers.finish import reason_of
from flask_aistream.providers.plain import data_url
from flask_aistream.providers.plain import field_of
from flask_aistream.providers.plain import plain
from flask_aistream.providers.tool_calls import ToolCallAssembler

# Where integrations say why the model stopped.
FINISH_KEYS = ("finish_reason", "stop_reason", "done_reason")
MODES = {"values", "updates", "messages", "custom", "checkpoints", "tasks", "debug"}


class LangChainAdapter:
    def __init__(self, accounting: Accounting) -> None:
        self._accounting = accounting
        self._tool_call_assembler = ToolCallAssembler(accounting, guess=True)
        self._streamed: set[str | None] = set()
        self._asking: set[str | None] = set()
        self._on: dict[str, Callable[[dict[str, t.Any]], Sequence[Event]]] = {
            "on_chat_model_stream": lambda event: self.events(event["data"]["chunk"]),
            "on_llm_stream": lambda event: self.events(event["data"]["chunk"]),
            "on_chat_model_end": lambda event: self._model_ended(event["data"].get("output")),
            "on_tool_end": lambda event: self._tool_ended(event["data"].get("output")),
            "on_tool_error": self._tool_failed,
            "on_custom_event": lambda event: [Data(event["name"], plain(event["data"]))],
        }

    def events(self, chunk: t.Any) -> Sequence[Event]:
        if isinstance(chunk, str):
            return (str(chunk),) if chunk else ()
        if isinstance(chunk, tuple):
            return self._graph_tuple(chunk)
        if isinstance(chunk, dict):
            return (
                self._event(chunk) if "event" in chunk else self._mode(chunk["type"], chunk["data"])
            )
        match chunk.type:
            case "AIMessageChunk":
                self._streamed.add(chunk.id)
                return self._said(chunk)
            case "ai":
                return () if chunk.id and chunk.id in self._streamed else self._said(chunk)
            case "tool" | "ToolMessageChunk":
                return self._tool_message(chunk)
            case "ChatGeneration" | "ChatGenerationChunk":
                return self.events(chunk.message)
            case "Generation" | "GenerationChunk":  # A model that is no chat model.
                return (chunk.text,) if chunk.text else ()
            case _:  # What people and the system say is no answer.
                return ()

    def close(self) -> Sequence[Event]:
        return self._tool_call_assembler.end_all()

    def _said(self, message: t.Any) -> Sequence[Event]:
        said = self._content(message.content)
        thoughts = message.additional_kwargs.get("reasoning_content")
        if isinstance(thoughts, str) and thoughts:
            said.insert(0, Reasoning(thoughts))
        if calls := self._tool_calls(message):
            self._asking.add(message.id)
            said += calls
        ended = getattr(message, "chunk_position", None) == "last"
        finish = finished(message, message.id in self._asking) if message.response_metadata else []
        if finish or ended:
            said += self._tool_call_assembler.end_all(message.id)
        said += finish
        if usage := getattr(message, "usage_metadata", None):
            said += self._accounting.used_more(str(message.id), used(usage))
        return said

    def _content(self, content: t.Any) -> list[Event]:
        if isinstance(content, str):
            return [content] if content else []
        said: list[Event] = []
        for block in content:
            said += [block] if isinstance(block, str) and block else self._block(block)
        return said

    def _block(self, block: t.Any) -> Sequence[Event]:
        say = BLOCKS.get(field_of(block, "type"))
        said = list(say(block)) if say else []
        for cite in field_of(block, "annotations") or field_of(block, "citations") or ():
            cite = field_of(cite, "url_citation") or cite
            said += self._accounting.url(field_of(cite, "url"), field_of(cite, "title"))
        return said

    def _tool_calls(self, message: t.Any) -> list[Event]:
        said: list[Event] = []
        parts = getattr(message, "tool_call_chunks", None)
        if parts is None:
            # Invalid to LangChain are arguments that are no JSON object, or none.
            for call in (*message.tool_calls, *message.invalid_tool_calls):
                said += self._tool_call_assembler.whole(
                    call["id"], call["name"] or "", call["args"]
                )
            return said
        for part in parts:
            index = part.get("index")
            # Where there is no index the call comes whole.
            key = (message.id, part.get("id") if index is None else index)
            said += self._tool_call_assembler.part(
                key, part.get("id"), part.get("name"), part.get("args")
            )
        return said

    def _tool_message(self, message: t.Any) -> Sequence[Event]:
        said = self._tool_call_assembler.end_all()
        if getattr(message, "status", None) == "error":
            return [*said, ToolError(message.tool_call_id, "The tool failed.")]
        return [*said, ToolResult(message.tool_call_id, plain(message.content))]

    def _event(self, event: dict[str, t.Any]) -> Sequence[Event]:
        """One of ``astream_events(version="v2")``. What chains pass on is what models said before."""
        say = self._on.get(event["event"])
        return say(event) if say else ()

    def _model_ended(self, output: t.Any) -> Sequence[Event]:
        """The whole answer; news only where the model did not stream it."""
        if not hasattr(output, "content") or output.id in self._streamed:
            return ()
        return self.events(output)

    def _tool_ended(self, output: t.Any) -> Sequence[Event]:
        """A message where a model called the tool; the bare result of one an application ran says
        nothing, as there is no call it belongs to."""
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
        """Other modes repeat the messages, or tell of the graph's inside."""
        if mode == "messages":
            return self.events(data[0])
        if mode == "custom":
            return (str(data),) if isinstance(data, str) else (Data("custom", plain(data)),)
        return ()


def finished(message: t.Any, asks: bool) -> list[Event]:
    metadata = message.response_metadata
    word = next((metadata[key] for key in FINISH_KEYS if metadata.get(key)), None)
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
    """What OpenAI's image tool made, in Responses."""
    media_type = f"image/{field_of(block, 'output_format') or 'png'}"
    result = field_of(block, "result")
    return [File(data_url(media_type, result), media_type)] if result else []


def text(block: t.Any) -> list[Event]:
    said = field_of(block, "text") or field_of(block, "refusal")
    return [said] if said else []


def reasoning(block: t.Any) -> list[Event]:
    """Anthropic: ``thinking``; standard: ``reasoning``; OpenAI: a ``summary``; Bedrock: nested."""
    nested = field_of(block, "reasoning_content")
    said = field_of(block, "thinking") or field_of(block, "reasoning") or field_of(nested, "text")
    if not said:
        said = "".join(field_of(part, "text") or "" for part in field_of(block, "summary") or ())
    return [Reasoning(said)] if said else []


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
