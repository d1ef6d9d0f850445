"""Gemini: ``google-genai``'s responses, and the JSON of ``streamGenerateContent``.

A stream is a row of whole responses, each with some parts. The SDK's names are those of the JSON in snake
case.
"""

from __future__ import annotations

import functools
import re
import typing as t
from collections.abc import Sequence

from flask_aistream.core.events import Event
from flask_aistream.core.events import File
from flask_aistream.core.events import Finished
from flask_aistream.core.events import Reasoning
from flask_aistream.core.events import ToolResult
from flask_aistream.core.events import Usage
from flask_aistream.providers.accounting import Accounting
from flask_aistream.providers.base import AnswerState
from flask_aistream.providers.failure import raise_if_error
from flask_aistream.providers.finish import reason_of
from flask_aistream.providers.plain import count_of
from flask_aistream.providers.plain import data_url
from flask_aistream.providers.plain import fields_of
from flask_aistream.providers.plain import items_of
from flask_aistream.providers.plain import plain
from flask_aistream.providers.plain import text_of
from flask_aistream.providers.tool_calls import ToolCallAssembler

CODE = "code_execution"
FIRST = (0, None, "0")
"""Indices of the candidate that is read."""
UNKNOWN_TYPE = "application/octet-stream"


class GoogleAdapter:
    """Reads the first candidate; of several only one can be the run's.

    The end marker is a finish reason, or the reason why the prompt was blocked.
    """

    def __init__(self, accounting: Accounting) -> None:
        self._accounting = accounting
        self._tool_calls = ToolCallAssembler(accounting)
        self.answer = AnswerState(accounting)
        self._unanswered: set[str] = set()
        self._code = ""

    @property
    def incomplete(self) -> bool:
        return self.answer.incomplete

    def events(self, chunk: t.Any) -> Sequence[Event]:
        events: list[Event] = []
        candidates = items_of(get(chunk, "candidates"))
        usage = get(chunk, "usage_metadata")
        if not candidates and not usage:
            raise_if_error(fields_of(chunk))
        for candidate in candidates:
            if get(candidate, "index") in FIRST:
                events += self._candidate(candidate)
                break
        if not self.answer.begun:
            self.answer.begin()
        if get(get(chunk, "prompt_feedback"), "block_reason"):
            self.answer.end()
            events.append(Finished("content-filter"))
        if usage:
            events += self._accounting.used(self.answer.call, used(usage))
        return events

    def done(self) -> Sequence[Event]:
        self.answer.end()
        return ()

    def close(self) -> Sequence[Event]:
        return ()

    def _candidate(self, candidate: t.Any) -> list[Event]:
        events: list[Event] = []
        for part in items_of(get(get(candidate, "content"), "parts")):
            events += self._part(part)
        if events:
            self.answer.begin()
        for chunk in items_of(get(get(candidate, "grounding_metadata"), "grounding_chunks")):
            events += self._grounding(chunk)
        for cited in items_of(get(get(candidate, "citation_metadata"), "citations")):
            events += self._accounting.url(get(cited, "uri"), get(cited, "title"))
        if reason := get(candidate, "finish_reason"):
            self.answer.end()
            events.append(self._finish(reason))
        return events

    def _finish(self, reason: t.Any) -> Event:
        """The API reports STOP also where the model waits for the answer of a tool."""
        word = reason_of(reason)
        return Finished("tool-calls" if word == "stop" and self._unanswered else word)

    def _part(self, part: t.Any) -> Sequence[Event]:
        if text := text_of(get(part, "text")):
            return (Reasoning(text),) if get(part, "thought") else (text,)
        if call := get(part, "function_call"):
            return self._call(call)
        if response := get(part, "function_response"):
            return self._response(response)
        if (inline := get(part, "inline_data")) and (data := get(inline, "data")):
            media_type = get(inline, "mime_type") or UNKNOWN_TYPE
            return (File(data_url(media_type, data), media_type),)
        if (file := get(part, "file_data")) and (uri := get(file, "file_uri")):
            return (File(uri, get(file, "mime_type") or UNKNOWN_TYPE),)
        if code := get(part, "executable_code"):
            return self._executed(code)
        if result := get(part, "code_execution_result"):
            return (ToolResult(self._code, plain(result)),)
        return ()

    def _call(self, call: t.Any) -> Sequence[Event]:
        name = text_of(get(call, "name"))
        if not name:  # A piece of streamed arguments, a mode of Vertex AI.
            return ()
        id = text_of(get(call, "id")) or self._accounting.call_id()
        self._unanswered.add(id)
        return self._tool_calls.whole(id, name, get(call, "args"))

    def _response(self, response: t.Any) -> Sequence[Event]:
        """The answer of a tool, where the SDK called the application's function by itself."""
        id = text_of(get(response, "id"))
        self._unanswered.discard(id)
        return (ToolResult(id, plain(get(response, "response"))),) if id else ()

    def _executed(self, code: t.Any) -> Sequence[Event]:
        """Google runs the code; its result is the next part, without an id to tie them."""
        self._code = self._accounting.call_id()
        return self._tool_calls.whole(self._code, CODE, code)

    def _grounding(self, chunk: t.Any) -> Sequence[Event]:
        for kind in ("web", "maps"):
            if page := get(chunk, kind):
                return self._accounting.url(get(page, "uri"), get(page, "title"))
        context = get(chunk, "retrieved_context")
        if not context:
            return ()
        title = get(context, "title")
        name = str(get(context, "document_name") or get(context, "uri") or title)
        return self._accounting.document(name, title or name, "text/plain")


def get(value: t.Any, name: str) -> t.Any:
    """A field under the SDK's name or the JSON's."""
    fields = fields_of(value)
    found = fields.get(name)
    return fields.get(camel(name)) if found is None and "_" in name else found


@functools.cache
def camel(name: str) -> str:
    return re.sub("_([a-z])", lambda found: found[1].upper(), name)


def count(usage: t.Any, name: str) -> int | None:
    found = count_of(usage, name)
    return count_of(usage, camel(name)) if found is None else found


def used(usage: t.Any) -> Usage:
    """Thoughts are written tokens too, but counted apart, or only in the total before 1.8."""
    read = count(usage, "prompt_token_count")
    tools = count(usage, "tool_use_prompt_token_count")
    if read is not None and tools:
        read += tools
    written = count(usage, "candidates_token_count")
    total = count(usage, "total_token_count")
    if read is not None and total:
        written = total - read
    return Usage(
        input_tokens=read,
        output_tokens=written,
        reasoning_tokens=count(usage, "thoughts_token_count"),
        cached_tokens=count(usage, "cached_content_token_count"),
    )
