"""Google's ``google-genai``: a stream is a row of whole responses, each with some parts."""

from __future__ import annotations

import typing as t
from collections.abc import Sequence

from flask_aistream.core.events import Event
from flask_aistream.core.events import File
from flask_aistream.core.events import Finished
from flask_aistream.core.events import Reasoning
from flask_aistream.core.events import ToolResult
from flask_aistream.core.events import Usage
from flask_aistream.providers.accounting import Accounting
from flask_aistream.providers.finish import reason_of
from flask_aistream.providers.plain import data_url
from flask_aistream.providers.plain import plain
from flask_aistream.providers.tool_calls import ToolCallAssembler

CODE = "code_execution"


class GoogleAdapter:
    """Reads the first candidate; of several only one can be the run's."""

    def __init__(self, accounting: Accounting) -> None:
        self._accounting = accounting
        self._tool_call_assembler = ToolCallAssembler(accounting)
        self._unanswered: set[str] = set()
        self._code = ""
        self._finished: bool | None = None

    def events(self, chunk: t.Any) -> Sequence[Event]:
        said: list[Event] = []
        self._finished = bool(self._finished)
        for candidate in (chunk.candidates or ())[:1]:
            said += self._candidate(candidate)
        blocked = getattr(chunk.prompt_feedback, "block_reason", None)
        if blocked:
            self._finished = True
            said.append(Finished("content-filter"))
        if chunk.usage_metadata:
            answer = getattr(chunk, "response_id", None) or ""
            said += self._accounting.used(answer, used(chunk.usage_metadata))
        return said

    def close(self) -> Sequence[Event]:
        """The API always gives a reason. Some versions of the SDK keep errors in the middle back."""
        return (Finished("other"),) if self._finished is False else ()

    def _candidate(self, candidate: t.Any) -> list[Event]:
        said: list[Event] = []
        for part in getattr(candidate.content, "parts", None) or ():
            said += self._part(part)
        if said:
            self._finished = False
        if candidate.grounding_metadata:
            for chunk in candidate.grounding_metadata.grounding_chunks or ():
                said += self._grounding(chunk)
        for cite in getattr(candidate.citation_metadata, "citations", None) or ():
            said += self._accounting.url(cite.uri, cite.title)
        if candidate.finish_reason:
            self._finished = True
            said.append(self._finish(candidate.finish_reason))
        return said

    def _finish(self, reason: t.Any) -> Event:
        """The API says STOP also where the model waits for the answer of a tool."""
        word = reason_of(reason)
        return Finished("tool-calls" if word == "stop" and self._unanswered else word)

    def _part(self, part: t.Any) -> Sequence[Event]:
        if part.text:
            return (Reasoning(part.text),) if part.thought else (part.text,)
        if part.function_call:
            return self._call(part.function_call)
        if part.function_response:
            return self._response(part.function_response)
        if part.inline_data and part.inline_data.data:
            media_type = part.inline_data.mime_type or "application/octet-stream"
            return (File(data_url(media_type, part.inline_data.data), media_type),)
        if part.file_data and part.file_data.file_uri:
            media_type = part.file_data.mime_type or "application/octet-stream"
            return (File(part.file_data.file_uri, media_type),)
        if part.executable_code:
            return self._executed(part.executable_code)
        if part.code_execution_result:
            return (ToolResult(self._code, plain(part.code_execution_result)),)
        return ()

    def _call(self, call: t.Any) -> Sequence[Event]:
        if not call.name:  # A piece of streamed arguments, a mode of Vertex AI.
            return ()
        id = call.id or self._accounting.call_id()
        self._unanswered.add(id)
        return self._tool_call_assembler.whole(id, call.name, call.args)

    def _response(self, response: t.Any) -> Sequence[Event]:
        """The answer of a tool, where the SDK called the application's function by itself."""
        self._unanswered.discard(response.id)
        return (ToolResult(response.id, plain(response.response)),) if response.id else ()

    def _executed(self, code: t.Any) -> Sequence[Event]:
        """Google runs the code; its result is the next part, without an id to tie them."""
        self._code = self._accounting.call_id()
        return self._tool_call_assembler.whole(self._code, CODE, code)

    def _grounding(self, chunk: t.Any) -> Sequence[Event]:
        if chunk.web:
            return self._accounting.url(chunk.web.uri, chunk.web.title)
        if maps := getattr(chunk, "maps", None):
            return self._accounting.url(maps.uri, maps.title)
        context = chunk.retrieved_context
        if not context:
            return ()
        name = getattr(context, "document_name", None) or context.uri or context.title
        return self._accounting.document(str(name), context.title or str(name), "text/plain")


def used(usage: t.Any) -> Usage:
    """Thoughts are written tokens too, but counted apart, or only in the total before 1.8."""
    read = usage.prompt_token_count
    tools = getattr(usage, "tool_use_prompt_token_count", None)
    if read is not None and tools:
        read += tools
    written = usage.candidates_token_count
    if read is not None and usage.total_token_count:
        written = usage.total_token_count - read
    return Usage(
        input_tokens=read,
        output_tokens=written,
        reasoning_tokens=getattr(usage, "thoughts_token_count", None),
        cached_tokens=usage.cached_content_token_count,
    )
