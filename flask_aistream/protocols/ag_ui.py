"""AG-UI 1.0: what ``HttpAgent`` and CopilotKit read.

Everything that opens is closed before the run is, except where the run fails: then ``RUN_ERROR`` is
the last word. Ids of messages are unique in a thread, not only in a run; so they begin with the run's.

Source: npm ``@ag-ui/client`` and pip ``ag-ui-protocol`` 1.0.0 (``verifyEvents``, ``defaultApplyEvents``).
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterator

from flask_aistream.core import events as ev
from flask_aistream.core.fold import merged
from flask_aistream.core.fold import present
from flask_aistream.core.request import Message
from flask_aistream.protocols.ai_sdk import usage
from flask_aistream.protocols.base import NOTHING
from flask_aistream.protocols.base import EncoderContext
from flask_aistream.protocols.base import ParsedRequest
from flask_aistream.protocols.base import WireProtocol
from flask_aistream.protocols.endings import fault
from flask_aistream.protocols.fields import missing
from flask_aistream.protocols.fields import mistyped
from flask_aistream.protocols.fields import others
from flask_aistream.protocols.fields import text_field
from flask_aistream.protocols.messages import Part
from flask_aistream.protocols.messages import answering
from flask_aistream.protocols.messages import check_content
from flask_aistream.protocols.messages import file_part
from flask_aistream.protocols.messages import role_of
from flask_aistream.protocols.spans import TEXT
from flask_aistream.protocols.spans import Json
from flask_aistream.protocols.spans import SpanEncoder
from flask_aistream.protocols.wire import dumps

VERSION = "1.0"

OWN_FIELDS = {"threadId", "runId", "protocolVersion", "messages"}
ROLES = ("developer", "system", "user", "assistant", "tool", "reasoning", "activity")

# Turns of the conversation that no model takes back; they stay in the body.
UNSAID = {"reasoning", "activity"}


State = t.Literal["named", "saying", "complete", "answered"]
OPEN = ("named", "saying")


class AGUIEncoder(SpanEncoder):
    def __init__(self, context: EncoderContext) -> None:
        super().__init__(context)
        thread = context.options.get("thread", context.run)
        self._ids = {"threadId": thread, "runId": context.options.get("run", context.run)}
        self._made = 0
        self._message = ""
        self._turn: str | None = None
        self._tool_call_assembler: dict[str, State] = {}
        self._step: str | None = None
        self._usage: ev.Usage | None = None

    def encode_event(self, event: ev.Event) -> Iterator[Json]:
        match event:
            case ev.RunStarted():
                yield {"type": "RUN_STARTED", **self._ids, "protocolVersion": VERSION}
            case ev.Reasoning():
                yield from self.thought(event)
            case ev.ToolCallStarted() if event.id not in self._tool_call_assembler:
                yield from self._open_call(event.id, event.name)
            case ev.ToolCallArguments() if self._tool_call_assembler.get(event.id) in OPEN:
                yield self._arguments(event.id, event.delta)
            case ev.ToolCall():
                yield from self._complete(event)
            case ev.ToolResult():
                yield from self._answer(event.id, event.result)
            case ev.ToolError():
                yield from self._answer(event.id, event.message, {"metadata": {"error": True}})
            case ev.SourceUrl() | ev.SourceDocument() | ev.File() | ev.Data():
                yield custom(event)
            case ev.Usage():
                self._usage = merged(self._usage, event)
            case ev.StepStarted():
                yield from self._close_step()
                self._step = event.name or "step"
                yield {"type": "STEP_STARTED", "stepName": self._step}
            case ev.StepFinished():
                yield from self._close_step()
            case ev.Finished() | ev.Stopped() | ev.Failed() | ev.Interrupted():
                yield from self._end(event)

    def opening(self, span: str) -> Iterator[Json]:
        self._message = self._new_id()
        if span == TEXT:
            self._turn = self._message
            yield {"type": "TEXT_MESSAGE_START", "messageId": self._message, "role": "assistant"}
        else:
            yield {"type": "REASONING_START", "messageId": self._message}
            yield {
                "type": "REASONING_MESSAGE_START",
                "messageId": self._message,
                "role": "reasoning",
            }

    def delta(self, span: str, text: str) -> Json:
        kind = "TEXT_MESSAGE_CONTENT" if span == TEXT else "REASONING_MESSAGE_CONTENT"
        return {"type": kind, "messageId": self._message, "delta": text}

    def closing(self, span: str) -> Iterator[Json]:
        if span == TEXT:
            yield {"type": "TEXT_MESSAGE_END", "messageId": self._message}
        else:
            yield {"type": "REASONING_MESSAGE_END", "messageId": self._message}
            yield {"type": "REASONING_END", "messageId": self._message}

    def encode_gap(self, first: int) -> Iterator[Json]:
        yield {"type": "RUN_STARTED", **self._ids, "protocolVersion": VERSION}
        yield {"type": "CUSTOM", "name": "gap", "value": {"first": first}}

    def _new_id(self) -> str:
        self._made += 1
        return f"{self.context.run}-{self._made}"

    def _open_call(self, id: str, name: str) -> Iterator[Json]:
        yield from self.switch(None)
        # Calls made in one turn belong to one message: no model takes them back otherwise.
        if self._turn is None:
            self._turn = self._new_id()
        self._tool_call_assembler[id] = "named"
        start = {"type": "TOOL_CALL_START", "toolCallId": id, "toolCallName": name}
        yield {**start, "parentMessageId": self._turn}

    def _arguments(self, id: str, delta: str) -> Json:
        self._tool_call_assembler[id] = "saying"
        return {"type": "TOOL_CALL_ARGS", "toolCallId": id, "delta": delta}

    def _complete(self, event: ev.ToolCall) -> Iterator[Json]:
        if event.id not in self._tool_call_assembler:
            yield from self._open_call(event.id, event.name)
        if self._tool_call_assembler[event.id] == "named":
            yield self._arguments(event.id, plain(event.arguments))
        yield from self._close_call(event.id)

    def _close_call(self, id: str) -> Iterator[Json]:
        if self._tool_call_assembler[id] in OPEN:
            self._tool_call_assembler[id] = "complete"
            yield {"type": "TOOL_CALL_END", "toolCallId": id}

    def _answer(
        self, id: str, result: t.Any, more: t.Mapping[str, t.Any] = NOTHING
    ) -> Iterator[Json]:
        if self._tool_call_assembler.get(id, "answered") == "answered":
            return
        yield from self.switch(None)
        yield from self._close_call(id)
        self._tool_call_assembler[id] = "answered"
        self._turn = None
        ids = {"messageId": self._new_id(), "toolCallId": id}
        yield {"type": "TOOL_CALL_RESULT", **ids, "content": plain(result), "role": "tool", **more}

    def _close_step(self) -> Iterator[Json]:
        yield from self.switch(None)
        if self._step is not None:
            yield {"type": "STEP_FINISHED", "stepName": self._step}
            self._step = None

    def _end(self, event: ev.Terminal) -> Iterator[Json]:
        counts = {"usage": [usage(self._usage)]} if self._usage else {}
        failed = fault(event)
        if failed and not isinstance(event, ev.Stopped):
            yield {"type": "RUN_ERROR", "message": failed.message, "code": failed.code, **counts}
            return
        for call in self._tool_call_assembler:
            yield from self._close_call(call)
        yield from self._close_step()
        yield {"type": "RUN_FINISHED", **self._ids, **self._outcome(event), **counts}

    def _outcome(self, event: ev.Terminal) -> Json:
        if not isinstance(event, ev.Finished):
            return {"outcome": {"type": "cancelled"}}
        pending = [call for call, state in self._tool_call_assembler.items() if state != "answered"]
        waiting = {"pendingToolCallIds": pending} if pending else {}
        why = {} if event.reason == "stop" else {"metadata": {"finishReason": event.reason}}
        return {"outcome": {"type": "success", **waiting}, **why}


def plain(value: t.Any) -> str:
    """Text as it is, everything else as JSON."""
    return value if isinstance(value, str) else dumps(value)


CUSTOM = {ev.SourceUrl: "source-url", ev.SourceDocument: "source-document", ev.File: "file"}


def custom(event: ev.SourceUrl | ev.SourceDocument | ev.File | ev.Data) -> Json:
    """AG-UI has no word for these but its own extension point."""
    if isinstance(event, ev.Data):
        identified = {} if event.id is None else {"metadata": {"id": event.id}}
        return {"type": "CUSTOM", "name": event.name, "value": event.value, **identified}
    return {"type": "CUSTOM", "name": CUSTOM[type(event)], "value": present(event)}


def read(body: dict[str, t.Any]) -> ParsedRequest:
    """A ``RunAgentInput``; its ``state``, ``tools``, ``context`` … are the provider's parameters.

    :raises RequestError: ``messages`` is missing, or a field is wrong.
    """
    if body.get("messages") is None:
        raise missing("messages", "a list of AG-UI messages")
    if not isinstance(body["messages"], list):
        raise mistyped("messages", body["messages"], "a list of AG-UI messages")
    thread = text_field(body, "threadId")
    run = text_field(body, "runId")
    named = {"thread": thread, "run": run}
    return ParsedRequest(
        messages=read_thread(body["messages"]),
        params=others(body, OWN_FIELDS),
        body=body,
        chat=thread,
        options={name: value for name, value in named.items() if value is not None},
    )


def read_thread(items: list[t.Any]) -> list[Message]:
    """AG-UI messages in OpenAI's shape."""
    read = [read_message(item, place) for place, item in enumerate(items)]
    return answering([message for message in read if message["role"] not in UNSAID])


def read_message(item: t.Any, place: int) -> Message:
    role = role_of(item, place, ROLES)
    if role in UNSAID:
        return {"role": role}
    content = item.get("content")
    check_content(content, role, place)
    if isinstance(content, list):
        content = [openai_part(part) for part in content]
    message: Message = {"role": role, "content": content}
    if isinstance(item.get("name"), str):
        message["name"] = item["name"]
    if item.get("toolCalls"):
        message["tool_calls"] = item["toolCalls"]
    if role == "tool":
        message["tool_call_id"] = item.get("toolCallId")
    return message


def openai_part(part: Part) -> Part:
    """A content part in OpenAI's shape, or as it came where that has none."""
    source = part.get("source")
    if not isinstance(source, dict) or not isinstance(source.get("value"), str):
        return part
    media_type = str(source.get("mimeType", "image/*" if part["type"] == "image" else ""))
    url = source["value"]
    if source.get("type") == "data":
        url = f"data:{media_type};base64,{url}"
    if source.get("type") not in ("data", "url"):
        return part
    return file_part(url, media_type, part.get("filename")) or part


def error(code: str, message: str, status: int) -> str:
    # The client shows `HTTP <status>: <body>`.
    return dumps({"error": {"code": code, "message": message}})


AG_UI = WireProtocol(
    name="ag-ui",
    path="/<provider>/ag-ui",
    read=read,
    encoder=AGUIEncoder,
    error=error,
    stateful=True,
)
