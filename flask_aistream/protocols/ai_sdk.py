"""The AI SDK's UI message stream, for ``useChat`` and ``useCompletion``.

Only chunks and fields of ai 5 are sent, since a client rejects a stream with any other. A newer client asks
for more with ``?version=``.

Source: npm ``ai`` 5.0.277, 6.0.326 and 7.0.173 (``uiMessageChunkSchema``, ``processUIMessageStream``).
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterator
from collections.abc import Mapping

from flask_aistream.core import events as ev
from flask_aistream.core.conversation import Branch
from flask_aistream.core.conversation import Decision
from flask_aistream.core.fold import merged
from flask_aistream.core.request import Message
from flask_aistream.errors import RequestError
from flask_aistream.protocols.base import EncoderContext
from flask_aistream.protocols.base import ParsedRequest
from flask_aistream.protocols.base import WireProtocol
from flask_aistream.protocols.endings import failure_of
from flask_aistream.protocols.endings import with_reference
from flask_aistream.protocols.fields import missing_field
from flask_aistream.protocols.fields import other_fields
from flask_aistream.protocols.fields import text_field
from flask_aistream.protocols.messages import is_tool
from flask_aistream.protocols.messages import newest_id
from flask_aistream.protocols.messages import read_approvals
from flask_aistream.protocols.messages import read_messages
from flask_aistream.protocols.spans import Json
from flask_aistream.protocols.spans import SpanEncoder
from flask_aistream.protocols.wire import data_frame

# `?version=` → options of the encoder. Before 5.0.92 clients reject a `finish` chunk with a reason.
VERSIONS: Mapping[str, Mapping[str, t.Any]] = {
    "5.0": {"reason": False},
    "5": {},
    "6": {"approvals": True},
    "7": {"approvals": True, "interrupted": True},
}
DONE = "data: [DONE]\n\n"

OWN_FIELDS = {"id", "messages", "message", "prompt", "trigger", "messageId", "approvals"}


class AISDKEncoder(SpanEncoder):
    """Sends chunks in the order that the client enforces: each id is opened once, before its other chunks."""

    def __init__(self, context: EncoderContext) -> None:
        super().__init__(context)
        self._send_reason: bool = context.options.get("reason", True)
        self._send_approvals: bool = context.options.get("approvals", False)
        self._send_interrupted: bool = context.options.get("interrupted", False)
        self._message = f"msg_{context.run}"
        self._spans = 0
        self._started = False
        self._continues = False
        self._step_open = False
        self._calls: set[str] = set()
        self._usage: ev.Usage | None = None

    def frame_template(self, value: Json) -> str:
        text = data_frame(value)
        # The client rejects a stream with these keys at any depth.
        if '"__proto__"' in text or '"constructor"' in text:
            text = data_frame(without_prototype_keys(value))
        return text + DONE if value["type"] in TERMINAL_TYPES else text

    def encode_event(self, event: ev.Event) -> Iterator[Json]:
        match event:
            case ev.RunStarted():
                self._message = event.continues or self._message
                self._continues = event.continues is not None
                yield from self._start()
            case ev.Reasoning():
                yield from self.encode_reasoning(event)
            case ev.ToolCallStarted() | ev.ToolCallArguments() | ev.ToolCall():
                yield from self._call(event)
            case ev.ToolApproval():
                yield from self._call(ev.ToolCall(event.id, event.name, event.arguments))
                yield self._approval(event.id)
            case ev.ToolResult() if self._is_known(event.id):
                yield {
                    "type": "tool-output-available",
                    "toolCallId": event.id,
                    "output": event.result,
                }
            case ev.ToolError() if self._is_known(event.id):
                yield {
                    "type": "tool-output-error",
                    "toolCallId": event.id,
                    "errorText": event.message,
                }
            case ev.SourceUrl() | ev.SourceDocument() | ev.File() | ev.Data():
                yield from self._open_step()
                yield part(event)
            case ev.Usage():
                self._usage = merged(self._usage, event)
            case ev.StepStarted():
                yield from self._close_step()
                yield from self._open_step()
            case ev.StepFinished():
                yield from self._close_step()
            case ev.Finished() | ev.Stopped() | ev.Failed() | ev.Interrupted():
                yield from self._close_step()
                yield from self._end(event)

    def open_span(self, span: str) -> Iterator[Json]:
        yield from self._open_step()
        self._spans += 1
        yield {"type": f"{span}-start", "id": self._id(span)}

    def encode_delta(self, span: str, text: str) -> Json:
        return {"type": f"{span}-delta", "id": self._id(span), "delta": text}

    def close_span(self, span: str) -> Iterator[Json]:
        yield {"type": f"{span}-end", "id": self._id(span)}

    def encode_gap(self, first: int) -> Iterator[Json]:
        yield from self._start()
        yield {"type": "data-gap", "data": {"first": first}}

    def _start(self) -> Iterator[Json]:
        if not self._started:
            self._started = True
            yield {"type": "start", "messageId": self._message}

    def _id(self, span: str) -> str:
        return f"{span[0]}{self._spans}"

    def _call(
        self, event: ev.ToolCallStarted | ev.ToolCallArguments | ev.ToolCall
    ) -> Iterator[Json]:
        if isinstance(event, ev.ToolCallArguments):
            if event.id in self._calls:
                yield {
                    "type": "tool-input-delta",
                    "toolCallId": event.id,
                    "inputTextDelta": event.delta,
                }
            return
        # Text after the call becomes a new part, so that a page shows both in order.
        yield from self.switch_span(None)
        yield from self._open_step()
        tool = {"toolCallId": event.id, "toolName": event.name}
        if isinstance(event, ev.ToolCall):
            yield {"type": "tool-input-available", **tool, "input": event.arguments}
        elif event.id not in self._calls:
            yield {"type": "tool-input-start", **tool}
        self._calls.add(event.id)

    def _approval(self, id: str) -> Json:
        # Clients of ai 5 have no approvals: their page gets data, and answers with `approvals` in the body.
        if not self._send_approvals:
            return {"type": "data-tool-approval", "id": id, "data": {"toolCallId": id}}
        return {"type": "tool-approval-request", "approvalId": id, "toolCallId": id}

    def _is_known(self, id: str) -> bool:
        """Whether the client's message has this call. A message that the run continues may have any."""
        return self._continues or id in self._calls

    def _open_step(self) -> Iterator[Json]:
        if not self._step_open:
            self._step_open = True
            yield {"type": "start-step"}

    def _close_step(self) -> Iterator[Json]:
        yield from self.switch_span(None)
        if self._step_open:
            self._step_open = False
            yield {"type": "finish-step"}

    def _end(self, event: ev.Terminal) -> Iterator[Json]:
        metadata = {"usage": usage(self._usage)} if self._usage else {}
        if isinstance(event, ev.Finished) or (
            isinstance(event, ev.Interrupted) and self._send_interrupted
        ):
            finish = event.reason if isinstance(event, ev.Finished) else "interrupted"
            # ai 6 has no "unknown".
            finish = "other" if finish == "unknown" else finish
            reason = {"finishReason": finish} if self._send_reason else {}
            counts = {"messageMetadata": metadata} if metadata else {}
            yield {"type": "finish", **reason, **counts}
            return
        if metadata:
            yield {"type": "message-metadata", "messageMetadata": metadata}
        failure = failure_of(event)
        if isinstance(event, ev.Stopped) or failure is None:
            yield {"type": "abort"}
        else:
            yield {"type": "error", "errorText": failure.message}


TERMINAL_TYPES = {"finish", "abort", "error"}


def part(event: ev.SourceUrl | ev.SourceDocument | ev.File | ev.Data) -> Json:
    """The single chunk of an event."""
    match event:
        case ev.SourceUrl():
            source: Json = {"type": "source-url", "sourceId": event.id, "url": event.url}
            return {**source, "title": event.title} if event.title is not None else source
        case ev.SourceDocument():
            document = {
                "type": "source-document",
                "sourceId": event.id,
                "mediaType": event.media_type,
            }
            tool = {} if event.filename is None else {"filename": event.filename}
            return {**document, "title": event.title, **tool}
        case ev.File():
            return {"type": "file", "url": event.url, "mediaType": event.media_type}
        case ev.Data():
            id_field = {} if event.id is None else {"id": event.id}
            return {"type": f"data-{event.name}", **id_field, "data": event.value}


def usage(usage: ev.Usage) -> Json:
    counts = {
        "inputTokens": usage.input_tokens,
        "outputTokens": usage.output_tokens,
        "totalTokens": usage.total_tokens,
        "reasoningTokens": usage.reasoning_tokens,
        "cachedInputTokens": usage.cached_tokens,
    }
    return {name: count for name, count in counts.items() if count is not None}


def without_prototype_keys(value: t.Any) -> t.Any:
    """``value`` without keys that could modify an object's prototype."""
    if isinstance(value, dict):
        kept = (
            key for key in value if key != "__proto__" and not reaches_prototype(key, value[key])
        )
        return {key: without_prototype_keys(value[key]) for key in kept}
    return (
        [without_prototype_keys(item) for item in value]
        if isinstance(value, (list, tuple))
        else value
    )


def reaches_prototype(key: t.Any, value: t.Any) -> bool:
    return key == "constructor" and isinstance(value, dict) and "prototype" in value


def read(body: dict[str, t.Any]) -> ParsedRequest:
    """A chat (``messages``, or only the last ``message``) or a completion (``prompt``).

    :raises RequestError: The body has none of them, or one of the wrong type.
    """
    messages = read_conversation(body)
    if messages is None:
        raise missing_field(
            "messages", "the list of UI messages that `useChat` sends, or a `prompt`"
        )
    items = body["messages"] if body.get("messages") is not None else [body.get("message")]
    return ParsedRequest(
        messages=messages,
        params=other_fields(body, OWN_FIELDS),
        body=body,
        chat=text_field(body, "id"),
        message_id=newest_id(items),
        branch=read_branch(body, items),
        decisions=[*read_decisions(items), *read_approvals(body.get("approvals"))],
        continues=continued_message(body),
    )


def read_branch(body: dict[str, t.Any], items: list[t.Any]) -> Branch | None:
    """``trigger`` and ``messageId``: an answer that is regenerated, or a message of the user that is edited.

    After a tool call or an approval, ``messageId`` names the assistant's message, which the run continues.

    :raises RequestError: ``messageId`` is not a string.
    """
    message = text_field(body, "messageId")
    if body.get("trigger") == "regenerate-message":
        return Branch("regenerate", message)
    last = items[-1] if items else None
    if message is not None and isinstance(last, dict) and last.get("role") == "user":
        return Branch("edit", message)
    return None


def read_decisions(items: list[t.Any]) -> list[Decision]:
    """The approval parts of the newest message that a person has answered."""
    last = items[-1] if items else None
    parts = last.get("parts") if isinstance(last, dict) else None
    decisions: list[Decision] = []
    for part in parts if isinstance(parts, list) else ():
        approval = part.get("approval") if is_tool(part) else None
        if isinstance(approval, dict) and isinstance(approval.get("approved"), bool):
            reason = approval.get("reason")
            decisions.append(
                Decision(
                    part["toolCallId"],
                    approval["approved"],
                    reason if isinstance(reason, str) else None,
                )
            )
    return decisions


def read_conversation(body: dict[str, t.Any]) -> list[Message] | None:
    """The conversation in the body; ``None`` if there is none."""
    if body.get("messages") is not None:
        return read_messages(body["messages"])
    if body.get("message") is not None:
        return read_messages([body["message"]])
    prompt = text_field(body, "prompt")
    return None if prompt is None else [Message(role="user", content=prompt)]


def continued_message(body: dict[str, t.Any]) -> str | None:
    """Id of the assistant message that this run extends, after a tool call in the browser."""
    messages = body.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    if (
        isinstance(last, dict)
        and last.get("role") == "assistant"
        and isinstance(last.get("id"), str)
    ):
        return t.cast(str, last["id"])
    return None


def options(query: Mapping[str, str]) -> Mapping[str, t.Any]:
    """``?version=``: the oldest version of npm ``ai`` among the application's clients."""
    version = query.get("version", "5")
    if version not in VERSIONS:
        raise RequestError(
            f"`version` is {version[:20]!r} but must be one of {', '.join(VERSIONS)}.",
            "version_invalid",
            422,
        )
    return VERSIONS[version]


def error(code: str, message: str, status: int, reference: str) -> str:
    # The client displays the body unchanged.
    return with_reference(message, reference)


AI_SDK = WireProtocol(
    name="ai-sdk",
    path="/<provider>/ai-sdk",
    read=read,
    encoder=AISDKEncoder,
    error=error,
    options=options,
    error_type="text/plain; charset=utf-8",
    stateful=True,
    headers={"x-vercel-ai-ui-message-stream": "v1"},
)
