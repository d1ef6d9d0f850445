"""AG-UI 1.0, for ``HttpAgent`` and CopilotKit.

Messages, calls and steps are closed before ``RUN_FINISHED``; ``RUN_ERROR`` may leave them open. Message ids must
be unique in a thread, not only in a run, so they begin with the run's id.

Source: npm ``@ag-ui/client`` and pip ``ag-ui-protocol`` 1.0.0 (``verifyEvents``, ``defaultApplyEvents``).
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterator

from flask_aistream.core import events as ev
from flask_aistream.core.conversation import Branch
from flask_aistream.core.conversation import Decision
from flask_aistream.core.fold import compact_fields
from flask_aistream.core.fold import merged
from flask_aistream.core.request import Message
from flask_aistream.protocols.ai_sdk import usage
from flask_aistream.protocols.base import NOTHING
from flask_aistream.protocols.base import EncoderContext
from flask_aistream.protocols.base import ParsedRequest
from flask_aistream.protocols.base import WireProtocol
from flask_aistream.protocols.endings import failure_of
from flask_aistream.protocols.fields import missing_field
from flask_aistream.protocols.fields import other_fields
from flask_aistream.protocols.fields import text_field
from flask_aistream.protocols.fields import wrong_type
from flask_aistream.protocols.messages import Part
from flask_aistream.protocols.messages import check_content
from flask_aistream.protocols.messages import check_tool_messages
from flask_aistream.protocols.messages import file_part
from flask_aistream.protocols.messages import id_of
from flask_aistream.protocols.messages import newest_id
from flask_aistream.protocols.messages import role_of
from flask_aistream.protocols.spans import TEXT
from flask_aistream.protocols.spans import Json
from flask_aistream.protocols.spans import SpanEncoder
from flask_aistream.protocols.wire import dumps

VERSION = "1.0"

OWN_FIELDS = {"threadId", "runId", "parentRunId", "protocolVersion", "messages", "resume"}
ROLES = ("developer", "system", "user", "assistant", "tool", "reasoning", "activity")

# Messages that no model accepts as input. They stay in the body.
IGNORED_ROLES = {"reasoning", "activity"}


State = t.Literal["started", "streaming", "complete", "answered"]
OPEN = ("started", "streaming")


class AGUIEncoder(SpanEncoder):
    def __init__(self, context: EncoderContext) -> None:
        super().__init__(context)
        thread = context.options.get("thread", context.run)
        self._ids = {"threadId": thread, "runId": context.options.get("run", context.run)}
        parent = context.options.get("parent")
        self._parent = {} if parent is None else {"parentRunId": parent}
        self._message_count = 0
        self._message = ""
        self._parent_message: str | None = None
        self._calls: dict[str, State] = {}
        self._approvals: list[ev.ToolApproval] = []
        self._approved: set[str] = set()
        self._step: str | None = None
        self._usage: ev.Usage | None = None

    def encode_event(self, event: ev.Event) -> Iterator[Json]:
        match event:
            case ev.RunStarted():
                self._approved = set(event.approved or ())
                yield {
                    "type": "RUN_STARTED",
                    **self._ids,
                    **self._parent,
                    "protocolVersion": VERSION,
                }
            case ev.Reasoning():
                yield from self.encode_reasoning(event)
            case ev.ToolCallStarted() if event.id not in self._calls:
                yield from self._open_call(event.id, event.name)
            case ev.ToolCallArguments() if self._calls.get(event.id) in OPEN:
                yield self._arguments(event.id, event.delta)
            case ev.ToolCall():
                yield from self._complete(event)
            case ev.ToolApproval():
                self._approvals.append(event)
                yield from self._complete(ev.ToolCall(event.id, event.name, event.arguments))
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

    def open_span(self, span: str) -> Iterator[Json]:
        self._message = self._new_id()
        if span == TEXT:
            self._parent_message = self._message
            yield {"type": "TEXT_MESSAGE_START", "messageId": self._message, "role": "assistant"}
        else:
            yield {"type": "REASONING_START", "messageId": self._message}
            yield {
                "type": "REASONING_MESSAGE_START",
                "messageId": self._message,
                "role": "reasoning",
            }

    def encode_delta(self, span: str, text: str) -> Json:
        kind = "TEXT_MESSAGE_CONTENT" if span == TEXT else "REASONING_MESSAGE_CONTENT"
        return {"type": kind, "messageId": self._message, "delta": text}

    def close_span(self, span: str) -> Iterator[Json]:
        if span == TEXT:
            yield {"type": "TEXT_MESSAGE_END", "messageId": self._message}
        else:
            yield {"type": "REASONING_MESSAGE_END", "messageId": self._message}
            yield {"type": "REASONING_END", "messageId": self._message}

    def encode_gap(self, first: int) -> Iterator[Json]:
        yield {"type": "RUN_STARTED", **self._ids, "protocolVersion": VERSION}
        yield {"type": "CUSTOM", "name": "gap", "value": {"first": first}}

    def _new_id(self) -> str:
        self._message_count += 1
        return f"{self.context.run}-{self._message_count}"

    def _open_call(self, id: str, name: str) -> Iterator[Json]:
        yield from self.switch_span(None)
        # Calls of one turn share one parent message; models accept them as history only in this form.
        if self._parent_message is None:
            self._parent_message = self._new_id()
        self._calls[id] = "started"
        start = {"type": "TOOL_CALL_START", "toolCallId": id, "toolCallName": name}
        yield {**start, "parentMessageId": self._parent_message}

    def _arguments(self, id: str, delta: str) -> Json:
        self._calls[id] = "streaming"
        return {"type": "TOOL_CALL_ARGS", "toolCallId": id, "delta": delta}

    def _complete(self, event: ev.ToolCall) -> Iterator[Json]:
        if event.id not in self._calls:
            yield from self._open_call(event.id, event.name)
        if self._calls[event.id] == "started":
            yield self._arguments(event.id, as_text(event.arguments))
        yield from self._close_call(event.id)

    def _close_call(self, id: str) -> Iterator[Json]:
        if self._calls[id] in OPEN:
            self._calls[id] = "complete"
            yield {"type": "TOOL_CALL_END", "toolCallId": id}

    def _answer(
        self, id: str, result: t.Any, more: t.Mapping[str, t.Any] = NOTHING
    ) -> Iterator[Json]:
        if id in self._approved:
            self._approved.discard(id)
            self._calls.setdefault(id, "complete")
        if self._calls.get(id, "answered") == "answered":
            return
        yield from self.switch_span(None)
        yield from self._close_call(id)
        self._calls[id] = "answered"
        self._parent_message = None
        ids = {"messageId": self._new_id(), "toolCallId": id}
        yield {
            "type": "TOOL_CALL_RESULT",
            **ids,
            "content": as_text(result),
            "role": "tool",
            **more,
        }

    def _close_step(self) -> Iterator[Json]:
        yield from self.switch_span(None)
        if self._step is not None:
            yield {"type": "STEP_FINISHED", "stepName": self._step}
            self._step = None

    def _end(self, event: ev.Terminal) -> Iterator[Json]:
        counts = {"usage": [usage(self._usage)]} if self._usage else {}
        failed = failure_of(event)
        if failed and not isinstance(event, ev.Stopped):
            yield {"type": "RUN_ERROR", "message": failed.message, "code": failed.code, **counts}
            return
        for call in self._calls:
            yield from self._close_call(call)
        yield from self._close_step()
        yield {"type": "RUN_FINISHED", **self._ids, **self._outcome(event), **counts}

    def _outcome(self, event: ev.Terminal) -> Json:
        if not isinstance(event, ev.Finished):
            return {"outcome": {"type": "cancelled"}}
        pending = [call for call, state in self._calls.items() if state != "answered"]
        interrupts = [interrupt(it) for it in self._approvals if it.id in pending]
        if interrupts:
            return {"outcome": {"type": "interrupt", "interrupts": interrupts}}
        pending_ids = {"pendingToolCallIds": pending} if pending else {}
        finish_reason = (
            {} if event.reason == "stop" else {"metadata": {"finishReason": event.reason}}
        )
        return {"outcome": {"type": "success", **pending_ids}, **finish_reason}


def as_text(value: t.Any) -> str:
    """A string unchanged, any other value as JSON."""
    return value if isinstance(value, str) else dumps(value)


def interrupt(event: ev.ToolApproval) -> Json:
    """A question to the user. Its answer is a ``resume`` entry with this id."""
    answer = {"approved": {"type": "boolean"}, "reason": {"type": "string"}}
    schema = {"type": "object", "properties": answer, "required": ["approved"]}
    return {
        "id": event.id,
        "reason": "tool_call",
        "message": f"Approve the call of {event.name}?",
        "toolCallId": event.id,
        "responseSchema": schema,
    }


CUSTOM = {ev.SourceUrl: "source-url", ev.SourceDocument: "source-document", ev.File: "file"}


def custom(event: ev.SourceUrl | ev.SourceDocument | ev.File | ev.Data) -> Json:
    """A ``CUSTOM`` event: AG-UI has no other for these."""
    if isinstance(event, ev.Data):
        metadata = {} if event.id is None else {"metadata": {"id": event.id}}
        return {"type": "CUSTOM", "name": event.name, "value": event.value, **metadata}
    return {"type": "CUSTOM", "name": CUSTOM[type(event)], "value": compact_fields(event)}


def read(body: dict[str, t.Any]) -> ParsedRequest:
    """A ``RunAgentInput``. ``state``, ``tools``, ``context`` … become the provider's params.

    :raises RequestError: ``messages`` is missing, or a field is wrong.
    """
    if body.get("messages") is None:
        raise missing_field("messages", "a list of AG-UI messages")
    if not isinstance(body["messages"], list):
        raise wrong_type("messages", body["messages"], "a list of AG-UI messages")
    for name in ("tools", "context"):
        if not isinstance(body.get(name), (list, type(None))):
            raise wrong_type(name, body[name], "a list")
    thread = text_field(body, "threadId")
    run = text_field(body, "runId")
    ids = {"thread": thread, "run": run, "parent": text_field(body, "parentRunId")}
    return ParsedRequest(
        messages=read_thread(body["messages"], complete=thread is None),
        params=other_fields(body, OWN_FIELDS),
        body=body,
        chat=thread,
        message_id=newest_id(body["messages"]),
        branch=read_branch(body),
        decisions=read_resume(body.get("resume")),
        options={name: value for name, value in ids.items() if value is not None},
    )


def read_branch(body: dict[str, t.Any]) -> Branch | None:
    """The run or message that the newest message follows, since AG-UI has no other form of an edit.

    :raises RequestError: ``parentRunId`` is not a string.
    """
    parent = text_field(body, "parentRunId")
    *earlier, last = body["messages"] or [None]
    if not (isinstance(last, dict) and last.get("role") == "user"):
        return None
    before = id_of(earlier[-1], len(earlier) - 1) if parent is None and earlier else parent
    return Branch("after", before)


def read_resume(value: t.Any) -> list[Decision]:
    """The answers to interrupts: ``{"approved", "reason"}`` or a boolean. One that was cancelled is a denial.

    :raises RequestError: It is something else.
    """
    if value is None:
        return []
    wanted = 'a list of objects such as {"interruptId": "1", "status": "resolved", "payload": {"approved": true}}'
    if not isinstance(value, list):
        raise wrong_type("resume", value, wanted)
    decisions: list[Decision] = []
    for entry in value:
        entry = entry if isinstance(entry, dict) else {}
        call, payload = entry.get("interruptId"), entry.get("payload")
        answer = payload if isinstance(payload, dict) else {"approved": payload}
        approved = False if entry.get("status") == "cancelled" else answer.get("approved")
        reason = answer.get("reason")
        if not isinstance(call, str) or not isinstance(approved, bool):
            raise wrong_type("resume", value, wanted)
        decisions.append(Decision(call, approved, reason if isinstance(reason, str) else None))
    return decisions


def read_thread(items: list[t.Any], *, complete: bool) -> list[Message]:
    """AG-UI messages in OpenAI's chat format.

    :param complete: No earlier message is in a history.
    """
    read = (read_message(item, index) for index, item in enumerate(items))
    messages = [message for message in read if message["role"] not in IGNORED_ROLES]
    return check_tool_messages(messages, complete=complete)


def read_message(item: t.Any, index: int) -> Message:
    role = role_of(item, index, ROLES)
    if role in IGNORED_ROLES:
        return {"role": role}
    content = item.get("content")
    check_content(content, role, index)
    if isinstance(content, list):
        content = [openai_part(part) for part in content]
    message: Message = {"role": role, "content": content}
    if isinstance(item.get("name"), str):
        message["name"] = item["name"]
    if item.get("toolCalls"):
        message["tool_calls"] = item["toolCalls"]
    if role == "tool":
        message["tool_call_id"] = item.get("toolCallId")
        message["content"] = with_error(content, item.get("error"))
    return message


def with_error(content: t.Any, error: t.Any) -> t.Any:
    """Content of a tool message with its error, for which OpenAI's chat format has no field."""
    if not error or not isinstance(error, str) or not isinstance(content, str) or error in content:
        return content
    return f"{content}\n{error}" if content else error


def openai_part(part: Part) -> Part:
    """A content part in OpenAI's chat format; unchanged if that format has no equivalent."""
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


def error(code: str, message: str, status: int, reference: str) -> str:
    # The client displays `HTTP <status>: <body>`.
    return dumps({"error": {"code": code, "message": message, "reference": reference}})


AG_UI = WireProtocol(
    name="ag-ui",
    path="/<provider>/ag-ui",
    read=read,
    encoder=AGUIEncoder,
    error=error,
    stateful=True,
    stopped_by_leaving=True,
)
