"""OpenAI's Responses: output items are added, streamed and done; every event has a sequence number.

The numbers depend only on the log, so ``starting_after`` can resume any run at any of them.

Source: pip ``openai`` 3.57.0, npm ``openai`` 7.57.0 (``ResponseStream``).
"""

from __future__ import annotations

import functools
import re
import typing as t
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from json.encoder import encode_basestring_ascii as quote

from flask_aistream.core import events as ev
from flask_aistream.core.fold import Fold
from flask_aistream.core.fold import merged
from flask_aistream.core.request import Message
from flask_aistream.errors import RequestError
from flask_aistream.protocols.base import EncoderContext
from flask_aistream.protocols.base import ParsedRequest
from flask_aistream.protocols.base import WireProtocol
from flask_aistream.protocols.endings import failure_of
from flask_aistream.protocols.endings import final_status
from flask_aistream.protocols.fields import flag_field
from flask_aistream.protocols.fields import missing_field
from flask_aistream.protocols.fields import other_fields
from flask_aistream.protocols.fields import text_field
from flask_aistream.protocols.fields import wrong_type
from flask_aistream.protocols.messages import check_tool_messages
from flask_aistream.protocols.messages import openai_call
from flask_aistream.protocols.openai_chat import NO_LOGPROBS
from flask_aistream.protocols.openai_chat import Reader
from flask_aistream.protocols.openai_chat import Supported
from flask_aistream.protocols.openai_chat import check_supported
from flask_aistream.protocols.openai_chat import error
from flask_aistream.protocols.openai_chat import error_headers
from flask_aistream.protocols.openai_chat import final_type
from flask_aistream.protocols.openai_chat import gap_message
from flask_aistream.protocols.openai_chat import model_of
from flask_aistream.protocols.openai_chat import stream_options
from flask_aistream.protocols.openai_chat import unknown_mark
from flask_aistream.protocols.openai_responses_echo import FORM
from flask_aistream.protocols.openai_responses_echo import echo_fields
from flask_aistream.protocols.openai_responses_echo import read_echo
from flask_aistream.protocols.openai_responses_input import read_input
from flask_aistream.protocols.spans import TEXT
from flask_aistream.protocols.spans import Json
from flask_aistream.protocols.spans import SpanEncoder
from flask_aistream.protocols.unfold import unfold
from flask_aistream.protocols.wire import dumps

OWN_FIELDS = {"model", "input", "instructions", "stream", "stream_options", "background"}

# See ``openai_chat.SUPPORTED``.
SUPPORTED: Supported = {"top_logprobs": ((0,), NO_LOGPROBS)}
LOGPROBS = "message.output_text.logprobs"

# Finish reasons of an incomplete response.
INCOMPLETE = {"length": "max_output_tokens", "content-filter": "content_filter"}

IMAGE = re.compile(r"data:image/[^,]*;base64,(.*)", re.DOTALL)


class ResponsesEncoder(SpanEncoder):
    """Stateful: keeps the whole response, which the last event contains."""

    def __init__(self, context: EncoderContext) -> None:
        super().__init__(context)
        self._after: int = context.options.get("starting_after", -1)
        self._sequence = 0
        self._output: list[Json] = []
        self._item: Json = {}
        self._deltas: list[str] = []
        self._annotations: list[Json] = []
        self._calls: dict[str, CallItem] = {}
        self._usage: ev.Usage | None = None
        self._echo: Json = {}
        self._terminal: ev.Terminal | None = None

    def encode(self, first: int, events: Sequence[ev.Event]) -> bytes:
        frames: list[str] = []
        for event in events:
            if self._terminal:
                break
            if type(event) is str:
                if self._span != TEXT:
                    frames += map(self.frame, self.switch_span(TEXT))
                self._deltas.append(event)
                frames.append(self._with_sequence_number(f"{self._head}{quote(event)}{self._tail}"))
            else:
                frames += map(self.frame, self.encode_event(event))
        return "".join(frames).encode("ascii")

    def frame_template(self, value: Json) -> str:
        # The number is the last field, so the text before it is the same for every delta of a span.
        return f'event: {value["type"]}\ndata: {dumps(value)[:-1]},"sequence_number":'

    def frame(self, value: Json) -> str:
        return self._with_sequence_number(self.frame_template(value))

    def encode_event(self, event: ev.Event) -> Iterator[Json]:
        match event:
            case ev.RunStarted():
                self._echo = event.echo or {}
                yield {"type": "response.created", "response": self.response()}
                yield {"type": "response.in_progress", "response": self.response()}
            case ev.Reasoning():
                yield from self.encode_reasoning(event)
                self._deltas.append(event.text)
            case ev.ToolCallStarted() if event.id not in self._calls:
                yield from self._open_call(event.id, event.name)
            case ev.ToolCallArguments() if event.id in self._calls:
                yield from self._arguments(event.id, event.delta)
            case ev.ToolCall() | ev.ToolApproval():
                yield from self._complete(event)
            case ev.ToolResult() | ev.ToolError() if event.id in self._calls:
                yield from self._close_call(event.id)
            case ev.SourceUrl() | ev.SourceDocument():
                yield from self._annotate(event)
            case ev.File():
                yield from self._image(event)
            case ev.Usage():
                self._usage = merged(self._usage, event)
            case ev.Finished() | ev.Stopped() | ev.Failed() | ev.Interrupted():
                yield from self._end(event)

    def open_span(self, span: str) -> Iterator[Json]:
        self._deltas, self._annotations = [], []
        if span == TEXT:
            message = {"type": "message", "status": "in_progress", "role": "assistant"}
            yield self._add("msg", {**message, "content": []})
            yield self._in_item(
                "response.content_part.added", content_index=0, part=text_part("", [])
            )
        else:
            yield self._add("rs", {"type": "reasoning", "status": "in_progress", "summary": []})
            empty = {"type": "summary_text", "text": ""}
            yield self._in_item(
                "response.reasoning_summary_part.added", summary_index=0, part=empty
            )

    def encode_delta(self, span: str, text: str) -> Json:
        if span == TEXT:
            at = {"content_index": 0}
            return self._in_item("response.output_text.delta", **at, delta=text, logprobs=[])
        return self._in_item("response.reasoning_summary_text.delta", summary_index=0, delta=text)

    def close_span(self, span: str) -> Iterator[Json]:
        item = self._item_so_far()
        if span == TEXT:
            part = item["content"][0]
            at = {"content_index": 0}
            yield self._in_item("response.output_text.done", **at, text=part["text"], logprobs=[])
            yield self._in_item("response.content_part.done", **at, part=part)
        else:
            part = item["summary"][0]
            at = {"summary_index": 0}
            yield self._in_item("response.reasoning_summary_text.done", **at, text=part["text"])
            yield self._in_item("response.reasoning_summary_part.done", **at, part=part)
        self._output[-1] = {**item, "status": self._status()}
        yield self._done(len(self._output) - 1)

    def encode_gap(self, first: int) -> Iterator[Json]:
        yield from self._end(ev.Failed("gap", gap_message(first), 410))

    def response(self) -> Json:
        """The response object so far."""
        counts = usage(self._usage) if self._usage or self._terminal else None
        return {
            **response_head(self.context, self._terminal),
            **echo_fields(self._echo),
            "output": self._items_so_far(),
            "usage": counts,
        }

    def _with_sequence_number(self, template: str) -> str:
        number = self._sequence
        self._sequence += 1
        return f"{template}{number}}}\n\n" if number > self._after else ""

    def _add(self, kind: str, item: Json) -> Json:
        index = len(self._output)
        self._item = {"id": f"{kind}_{self.context.run}_{index}", **item}
        self._output.append(self._item)
        return {"type": "response.output_item.added", "output_index": index, "item": self._item}

    def _done(self, index: int) -> Json:
        item = self._output[index]
        return {"type": "response.output_item.done", "output_index": index, "item": item}

    def _in_item(self, type: str, **fields: t.Any) -> Json:
        index = len(self._output) - 1
        return {"type": type, "item_id": self._item["id"], "output_index": index, **fields}

    def _item_so_far(self) -> Json:
        """The open item with its content so far."""
        text = "".join(self._deltas)
        if self._span == TEXT:
            return {**self._item, "content": [text_part(text, self._annotations)]}
        return {**self._item, "summary": [{"type": "summary_text", "text": text}]}

    def _items_so_far(self) -> list[Json]:
        return [*self._output[:-1], self._item_so_far()] if self._span else list(self._output)

    def _status(self) -> str:
        return (
            "completed" if status(self._terminal) in ("in_progress", "completed") else "incomplete"
        )

    def _open_call(self, id: str, name: str) -> Iterator[Json]:
        yield from self.switch_span(None)
        call = {"type": "function_call", "status": "in_progress", "call_id": id, "name": name}
        yield self._add("fc", {**call, "arguments": ""})
        self._calls[id] = CallItem(len(self._output) - 1, self._item["id"])

    def _arguments(self, id: str, delta: str) -> Iterator[Json]:
        call = self._calls[id]
        if call.open:
            call.arguments.append(delta)
            at = {"item_id": call.item, "output_index": call.index}
            yield {"type": "response.function_call_arguments.delta", **at, "delta": delta}

    def _complete(self, event: ev.ToolCall | ev.ToolApproval) -> Iterator[Json]:
        if event.id not in self._calls:
            yield from self._open_call(event.id, event.name)
        if not self._calls[event.id].arguments:
            call = openai_call(event.id, event.name, event.arguments)
            yield from self._arguments(event.id, call["function"]["arguments"])
        yield from self._close_call(event.id)

    def _close_call(self, id: str) -> Iterator[Json]:
        call = self._calls[id]
        if not call.open:
            return
        call.open = False
        arguments = "".join(call.arguments)
        item = {**self._output[call.index], "arguments": arguments, "status": self._status()}
        self._output[call.index] = item
        at = {"item_id": call.item, "output_index": call.index, "name": item["name"]}
        yield {"type": "response.function_call_arguments.done", **at, "arguments": arguments}
        yield self._done(call.index)

    def _annotate(self, event: ev.SourceUrl | ev.SourceDocument) -> Iterator[Json]:
        yield from self.switch_span(TEXT)
        annotation_json = annotation(event, sum(map(len, self._deltas)))
        self._annotations.append(annotation_json)
        at = {"content_index": 0, "annotation_index": len(self._annotations) - 1}
        yield self._in_item(
            "response.output_text.annotation.added", **at, annotation=annotation_json
        )

    def _image(self, event: ev.File) -> Iterator[Json]:
        data = IMAGE.fullmatch(event.url)
        if data:
            yield from self.switch_span(None)
            yield self._add(
                "ig", {"type": "image_generation_call", "status": "in_progress", "result": None}
            )
            self._output[-1] = {**self._item, "status": "completed", "result": data[1]}
            yield self._done(len(self._output) - 1)

    def _end(self, event: ev.Terminal) -> Iterator[Json]:
        self._terminal = event
        yield from self.switch_span(None)
        for call in self._calls:
            yield from self._close_call(call)
        if status(event) == "failed":
            yield error_event(event)
        yield {"type": f"response.{END_EVENTS[status(event)]}", "response": self.response()}


class CallItem:
    """A tool call that is being streamed: index and id of its item, and its arguments so far."""

    __slots__ = ("arguments", "index", "item", "open")

    def __init__(self, index: int, item: str) -> None:
        self.index = index
        self.item = item
        self.arguments: list[str] = []
        self.open = True


# There is no event for a cancelled response; its status tells it apart.
END_EVENTS = {
    "completed": "completed",
    "incomplete": "incomplete",
    "cancelled": "incomplete",
    "failed": "failed",
}


def status(terminal: ev.Terminal | None) -> str:
    match terminal:
        case None:
            return "in_progress"
        case ev.Finished():
            return "incomplete" if terminal.reason in INCOMPLETE else "completed"
        case ev.Stopped():
            return "cancelled"
        case _:
            return "failed"


def response_head(context: EncoderContext, terminal: ev.Terminal | None) -> Json:
    state = status(terminal)
    failed = failure_of(terminal) if terminal and state == "failed" else None
    reason = INCOMPLETE.get(terminal.reason) if isinstance(terminal, ev.Finished) else None
    completed = terminal.at if terminal and state == "completed" else None
    return {
        "id": f"resp_{context.run}",
        "object": "response",
        "created_at": int(context.created),
        "completed_at": None if completed is None else int(completed),
        "status": state,
        "error": error_field(failed) if failed else None,
        "incomplete_details": {"reason": reason} if reason else None,
        "model": context.provider,
    }


def error_event(terminal: ev.Terminal) -> Json:
    """The event on which clients raise; most of them take ``response.failed`` for a normal end.

    The schema has only the flat fields. OpenAI's Python SDK raises only on the nested ones.
    """
    failure = t.cast(ev.Failed, failure_of(terminal))
    fields = {"code": failure.code, "message": failure.message, "param": None}
    kind = final_type(failure.code, failure.status)
    return {"type": "error", **fields, "error": {"type": kind, **fields}}


def error_field(failure: ev.Failed) -> Json:
    """``error`` of a response object. Its ``code`` is an enumeration, so our own code has a field beside it."""
    code = "rate_limit_exceeded" if failure.status == 429 else "server_error"
    return {"code": code, "message": failure.message, "aistream_code": failure.code}


def text_part(text: str, annotations: list[Json]) -> Json:
    part = {"type": "output_text", "text": text, "annotations": list(annotations)}
    return {**part, "logprobs": []}


def annotation(event: ev.SourceUrl | ev.SourceDocument, at: int) -> Json:
    """A source as an annotation at offset ``at`` of the text."""
    if isinstance(event, ev.SourceUrl):
        source = {"url": event.url, "title": event.title or event.url}
        return {"type": "url_citation", **source, "start_index": at, "end_index": at}
    name = event.filename or event.title
    return {"type": "file_citation", "file_id": event.id, "filename": name, "index": at}


def usage(reported: ev.Usage | None) -> Json:
    usage = reported or ev.Usage()
    return {
        "input_tokens": usage.input_tokens or 0,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens or 0,
            "cache_write_tokens": 0,
        },
        "output_tokens": usage.output_tokens or 0,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": usage.total_tokens or 0,
        **unknown_mark(reported),
    }


def response_body(fold: Fold, context: EncoderContext) -> Json:
    """The response object of a run, ended or not."""
    encoder = ResponsesEncoder(context)
    encoder.encode(0, list(unfold(fold)))
    return encoder.response()


def input_errors(read: Reader) -> Reader:
    """``read`` with errors that name the field ``input``, which holds the messages."""

    @functools.wraps(read)
    def read_input_field(body: dict[str, t.Any]) -> ParsedRequest:
        try:
            return read(body)
        except RequestError as error:
            raise about_input(error) from None

    return read_input_field


def about_input(error: RequestError) -> RequestError:
    """An error about messages as one about ``input``."""
    message = str(error).replace("`messages[", "`input[")
    return RequestError(message, error.code.replace("messages_", "input_"), 400)


@input_errors
def read(body: dict[str, t.Any]) -> ParsedRequest:
    """A response to create. ``model`` is the provider's name.

    :raises RequestError: ``model`` or ``input`` is missing or wrong, or a field asks for what no response contains.
    """
    if body.get("background") is True and body.get("store") is False:
        raise RequestError(
            "`background` is true and `store` is false, but a response that cannot be retrieved cannot run in the "
            "background. Leave one of them out.",
            "background_invalid",
            422,
        )
    items = body.get("input")
    if items is None:
        raise missing_field("input", "a string or a list of input items")
    if not isinstance(items, (str, list)):
        raise wrong_type("input", items, "a string or a list of input items")
    check_supported(body, SUPPORTED)
    check_includes(body)
    check_stream_options(body)
    given = read_input(items)
    chat, previous = conversation_id(body), text_field(body, "previous_response_id")
    appends = chat is not None or previous is not None
    # The calls of earlier responses are not in this request.
    messages = check_tool_messages(given.messages, complete=not (appends or given.references))
    instructions = text_field(body, "instructions")
    if instructions is not None:
        messages = [Message(role="system", content=instructions), *messages]
    return ParsedRequest(
        messages=messages,
        has_instructions=instructions is not None,
        appends=appends,
        references=given.references,
        params=other_fields(body, OWN_FIELDS),
        body=body,
        chat=chat,
        previous=previous,
        decisions=given.decisions,
        echo={**read_echo(body), "messages": len(messages)},
        provider=model_of(body),
        stream=flag_field(body, "stream"),
        background=flag_field(body, "background"),
    )


def check_includes(body: dict[str, t.Any]) -> None:
    """``include``: additional parts of the output. Those of OpenAI's own tools are the provider's.

    :raises RequestError: It is not a list, or asks for log probabilities.
    """
    wanted = body.get("include")
    if not isinstance(wanted, (list, type(None))):
        raise wrong_type("include", wanted, "a list of strings")
    if LOGPROBS in (wanted or ()):
        raise RequestError(f"`include` has {LOGPROBS!r}, but {NO_LOGPROBS}.", "include_invalid")


def check_stream_options(body: dict[str, t.Any]) -> None:
    """
    :raises RequestError: The request does not stream, or asks for padded deltas.
    """
    wanted = stream_options(body, flag_field(body, "stream"))
    if wanted and flag_field(wanted, "include_obfuscation"):
        raise RequestError(
            "`stream_options.include_obfuscation` must be false or absent: deltas are sent without padding.",
            "stream_options_invalid",
        )


def conversation_id(body: dict[str, t.Any]) -> str | None:
    """``conversation``: its id, or an object with the id.

    :raises RequestError: It is neither, or there is a ``previous_response_id`` too.
    """
    value = body.get("conversation")
    if value is None:
        return None
    if body.get("previous_response_id") is not None:
        raise RequestError(
            "`conversation` and `previous_response_id` exclude each other; send one of them.",
            "conversation_invalid",
            422,
        )
    id = value.get("id") if isinstance(value, dict) else value
    if not isinstance(id, str):
        raise wrong_type("conversation", value, 'a string, or an object such as {"id": "conv_1"}')
    return id


def without_instructions(messages: list[Message], echo: t.Any) -> list[Message]:
    """The messages of an earlier response without its instructions, which do not carry over."""
    instructions = echo.get("instructions") if isinstance(echo, dict) else None
    first = messages[0] if messages else {}
    if instructions is not None and first == {"role": "system", "content": instructions}:
        return messages[1:]
    return messages


def options(query: Mapping[str, str]) -> Mapping[str, t.Any]:
    """``?starting_after=``: resume a retrieved stream after this sequence number."""
    after = query.get("starting_after")
    if after is None:
        return {}
    if not (after.isascii() and after.isdigit() and len(after) <= 15):
        raise RequestError(
            f"`starting_after` is {after[:20]!r} but must be the `sequence_number` of an event.",
            "starting_after_invalid",
        )
    return {"starting_after": int(after)}


OPENAI_RESPONSES = WireProtocol(
    name="openai-responses",
    path="/v1/responses",
    read=read,
    encoder=ResponsesEncoder,
    error=error,
    options=options,
    response_body=response_body,
    form=FORM,
    stateful=True,
    stopped_by_leaving=True,
    error_headers=error_headers,
    failure_status=final_status,
    run_header="x-request-id",
)
