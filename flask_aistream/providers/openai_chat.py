"""OpenAI Chat Completions: chunks, whole answers and the events of ``.stream()``.

Also what speaks the same language: LiteLLM, vLLM, DeepSeek, OpenRouter, Mistral, Perplexity and others
behind ``openai``'s client, each with fields of its own, and older text completions.
"""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Sequence

from flask_aistream.core.events import Event
from flask_aistream.core.events import File
from flask_aistream.core.events import Finished
from flask_aistream.core.events import Reasoning
from flask_aistream.core.events import Usage
from flask_aistream.providers.accounting import Accounting
from flask_aistream.providers.failure import failed
from flask_aistream.providers.finish import reason_of
from flask_aistream.providers.plain import field_of
from flask_aistream.providers.plain import fields_of
from flask_aistream.providers.tool_calls import ToolCallAssembler


class ChatAdapter:
    """Reads the first choice; of ``n`` answers only one can be the run's."""

    def __init__(self, accounting: Accounting) -> None:
        self._accounting = accounting
        self._tool_call_assembler = ToolCallAssembler(accounting, guess=True)
        self._saw_chunks = False
        # In the order they are told where one chunk has several.
        self._says: dict[str, Callable[[t.Any], Sequence[Event]]] = {
            "reasoning_content": reasoning,
            "reasoning": reasoning,
            "content": content,
            "refusal": content,
            "audio": transcript,
            "tool_calls": self._tool_calls,
            "function_call": self._function_call,
            "annotations": self._annotations,
            "images": images,
        }
        self._says_whole = {**self._says, "tool_calls": self._whole_calls}

    def events(self, chunk: t.Any) -> Sequence[Event]:
        # Reading a field that pydantic does not have costs ten times what this does.
        choices = chunk.__dict__.get("choices")
        if choices is None:
            return self._helper(chunk)
        said: list[Event] = []
        for choice in choices:
            if not getattr(choice, "index", 0):
                said += self._choice(choice)
        usage = getattr(chunk, "usage", None)
        if usage:
            said += self._accounting.used(str(getattr(chunk, "id", "")), used(usage))
        more = getattr(chunk, "__pydantic_extra__", None)
        if more:
            said += self._cited(more)
        return said

    def close(self) -> Sequence[Event]:
        return self._tool_call_assembler.end_all()

    def _choice(self, choice: t.Any) -> list[Event]:
        said: list[Event] = []
        says, delta = self._says, getattr(choice, "delta", None)
        if delta is None:
            says, delta = self._says_whole, getattr(choice, "message", None)
        if delta is not None:
            fields = fields_of(delta)
            for name, say in says.items():
                if (value := fields.get(name)) and not (name == "reasoning" and said):
                    said += say(value)
        else:
            said += content(getattr(choice, "text", None))
        finish = getattr(choice, "finish_reason", None)
        if finish:
            said += self._finish(str(finish))
        return said

    def _finish(self, reason: str) -> list[Event]:
        if reason == "error":  # OpenRouter's word for a model that broke in the middle.
            failed()
        return [*self._tool_call_assembler.end_all(), Finished(reason_of(reason))]

    def _tool_calls(self, calls: t.Any) -> Sequence[Event]:
        said: list[Event] = []
        for call in calls:
            index = getattr(call, "index", None)
            said += self._tool_call_assembler.part(index, call.id, *asked(call))
        return said

    def _whole_calls(self, calls: t.Any) -> Sequence[Event]:
        said: list[Event] = []
        for call in calls:
            name, arguments = asked(call)
            said += self._tool_call_assembler.whole(call.id, name or "", arguments)
        return said

    def _function_call(self, call: t.Any) -> Sequence[Event]:
        return self._tool_call_assembler.part("function_call", None, call.name, call.arguments)

    def _annotations(self, annotations: t.Any) -> Sequence[Event]:
        said: list[Event] = []
        for annotation in annotations:
            cite = field_of(annotation, "url_citation")
            said += self._accounting.url(field_of(cite, "url"), field_of(cite, "title"))
        return said

    def _cited(self, more: dict[str, t.Any]) -> list[Event]:
        """Perplexity's sources, which it repeats with every chunk."""
        said: list[Event] = []
        for result in more.get("search_results") or ():
            said += self._accounting.url(field_of(result, "url"), field_of(result, "title"))
        for cite in more.get("citations") or ():
            said += self._accounting.url(cite if isinstance(cite, str) else field_of(cite, "url"))
        return said

    def _helper(self, event: t.Any) -> Sequence[Event]:
        """The events of ``client.chat.completions.stream()``.

        Each chunk is followed by events that say the same in other words. They count only where an
        application passes on those alone.
        """
        if event.type == "chunk":
            self._saw_chunks = True
            return self.events(event.chunk)
        if self._saw_chunks:
            return ()
        match event.type:
            case "content.delta" | "refusal.delta":
                return content(event.delta)
            case "tool_calls.function.arguments.delta":
                return self._tool_call_assembler.part(
                    event.index, None, event.name, event.arguments_delta
                )
            case "tool_calls.function.arguments.done":
                return self._tool_call_assembler.end(event.index, event.arguments)
            case _:
                return ()


def asked(call: t.Any) -> tuple[str | None, t.Any]:
    """Name and arguments. Custom tools have free text where functions have JSON."""
    tool = getattr(call, "function", None) or getattr(call, "custom", None)
    arguments = getattr(tool, "arguments", None) or getattr(tool, "input", None)
    return getattr(tool, "name", None), arguments


def content(value: t.Any) -> list[Event]:
    if isinstance(value, str):
        return [value] if value else []
    said: list[Event] = []
    for part in value or ():  # Mistral's reasoning models send a list of parts.
        if thoughts := field_of(part, "thinking"):
            said += [Reasoning(event) for event in content(thoughts) if isinstance(event, str)]
        else:
            said += content(field_of(part, "text"))
    return said


def reasoning(value: t.Any) -> Sequence[Event]:
    return [Reasoning(value)] if isinstance(value, str) else ()


def transcript(audio: t.Any) -> Sequence[Event]:
    return content(field_of(audio, "transcript"))


def images(pictures: t.Any) -> Sequence[Event]:
    urls = (field_of(field_of(picture, "image_url"), "url") for picture in pictures)
    return [File(url, media_type_of(url)) for url in urls if url]


def media_type_of(url: str) -> str:
    """The type a ``data:`` URL names; elsewhere all that is known is that it is an image."""
    return url[5:].partition(";")[0] if url.startswith("data:") else "image/*"


def used(usage: t.Any) -> Usage:
    read = field_of(usage, "prompt_tokens_details")
    written = field_of(usage, "completion_tokens_details")
    cached = field_of(read, "cached_tokens")
    return Usage(
        input_tokens=field_of(usage, "prompt_tokens"),
        output_tokens=field_of(usage, "completion_tokens"),
        reasoning_tokens=field_of(written, "reasoning_tokens"),
        cached_tokens=field_of(usage, "prompt_cache_hit_tokens") if cached is None else cached,
    )
