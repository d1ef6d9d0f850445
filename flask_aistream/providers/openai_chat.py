"""OpenAI Chat Completions: chunks, whole answers and the events of ``.stream()``.

Also every wire that copies it: LiteLLM, vLLM, DeepSeek, OpenRouter, Groq, Mistral, Perplexity and others,
each with fields of its own, and older text completions.
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
from flask_aistream.providers.base import AnswerState
from flask_aistream.providers.failure import end_with_failure
from flask_aistream.providers.failure import raise_if_error
from flask_aistream.providers.failure import raise_reported
from flask_aistream.providers.failure import reported_failure
from flask_aistream.providers.finish import BROKEN
from flask_aistream.providers.finish import reason_of
from flask_aistream.providers.plain import Fields
from flask_aistream.providers.plain import count_of
from flask_aistream.providers.plain import field_of
from flask_aistream.providers.plain import fields_of
from flask_aistream.providers.plain import items_of
from flask_aistream.providers.plain import text_of
from flask_aistream.providers.tool_calls import Part
from flask_aistream.providers.tool_calls import ToolCallAssembler

REASONING = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
"""Names of the same field. A delta that has several of them repeats the text."""


class ChatAdapter:
    """Reads the first choice, since a run has one answer.

    The end marker is a ``finish_reason``, or ``[DONE]`` in a raw body.
    """

    def __init__(self, accounting: Accounting) -> None:
        self._accounting = accounting
        self._tool_calls = ToolCallAssembler(accounting, guess=True)
        self.answer = AnswerState(accounting)
        self._saw_chunks = False
        self._id: t.Any = None
        self._reason: t.Any = "stop"
        self._output_tokens = 0
        # In the order of their events in a delta that has several.
        self._fields: tuple[tuple[str, Callable[[t.Any], Sequence[Event]]], ...] = (
            ("content", content),
            ("refusal", content),
            ("audio", transcript),
            ("tool_calls", self._call_parts),
            ("function_call", self._function_call),
            ("annotations", self._annotations),
            ("images", images),
        )

    @property
    def incomplete(self) -> bool:
        return self.answer.incomplete

    def events(self, chunk: t.Any) -> Sequence[Event]:
        fields = fields_of(chunk)
        choices = fields.get("choices")
        if not isinstance(choices, list | tuple):
            if choices is None:
                if (kind := fields.get("type")) in HELPER_EVENTS:
                    return self._helper(str(kind), fields)
                if (wrapped := fields.get("data")) is not None:  # Mistral's SDK
                    return self.events(wrapped)
                raise_if_error(fields)
            choices = ()
        elif not choices and fields.get("error"):
            raise_reported(fields)
        events: list[Event] = []
        usage = fields.get("usage")
        if usage is None and (groq := fields.get("x_groq")) is not None:
            usage = field_of(groq, "usage")
        for choice in choices:
            of_choice = fields_of(choice)
            if of_choice.get("index") in FIRST:
                events += self._choice(of_choice, fields)
                usage = usage or of_choice.get("usage")
        if usage:
            events += self._used(fields, usage, of_choices=bool(choices))
        if fields.get("search_results") or fields.get("citations"):
            events += self._cited(fields)
        return events

    def done(self) -> Sequence[Event]:
        return self._finish(self._reason) if self.answer.open else ()

    def close(self) -> Sequence[Event]:
        return self._tool_calls.end_complete()

    def _choice(self, choice: Fields, chunk: Fields) -> list[Event]:
        delta = choice.get("delta")
        finish = choice.get("finish_reason")
        if delta is None and choice.get("message") is not None:
            return self._whole(fields_of(choice.get("message")), finish)
        fields = fields_of(delta)
        text = fields.get("content") if delta is not None else choice.get("text")
        if type(text) is str and text and type(fields) is dict and len(fields) == 1:
            events: list[Event] = [text]  # Nearly every chunk of a raw body.
        else:
            events = self._delta(fields) if delta is not None else content(text)
        if not self.answer.open:
            self._reopen(fields, finish, chunk, bool(events))
        error = choice.get("error") or chunk.get("error")
        if error or (finish and text_of(finish) in BROKEN):
            code = BROKEN.get(text_of(finish), "upstream_error")
            return events + end_with_failure(reported_failure({"error": error}, code), events)
        if finish and finish != "null":
            self._id = chunk.get("id")
            events += self._finish(finish)
        return events

    def _delta(self, fields: Fields) -> list[Event]:
        events: list[Event] = []
        for name in REASONING:
            if (value := fields.get(name)) and (thoughts := reasoning(value)):
                events += thoughts
                break
        for name, read in self._fields:
            if value := fields.get(name):
                events += read(value)
        return events

    def _whole(self, message: Fields, finish: t.Any) -> list[Event]:
        """An answer that was not streamed."""
        self.answer.renew()
        self._tool_calls.called = False
        calls = [part_of(call) for call in items_of(message.get("tool_calls"))]
        events = self._delta(Without(message, "tool_calls"))
        for part in calls:
            events += self._tool_calls.whole(
                part.id, part.name or "", part.arguments, free_text=part.free_text
            )
        if finish:
            return events + self._finish(finish)
        self.answer.end()
        return events

    def _reopen(self, delta: Fields, finish: t.Any, chunk: Fields, has_content: bool) -> None:
        """Handle the first chunk, or one after an end marker, which belongs to another answer if its id differs."""
        id = chunk.get("id")
        if self.answer.begun and id and id != self._id:
            if has_content or finish or delta.get("role"):
                self._renew()
        elif has_content or not self.answer.begun:
            self._begin()

    def _begin(self) -> None:
        if self.answer.begin():
            self._reset()

    def _renew(self) -> None:
        self.answer.renew()
        self._reset()

    def _reset(self) -> None:
        self._tool_calls.called = False
        self._output_tokens = 0

    def _finish(self, reason: t.Any) -> list[Event]:
        events = self._tool_calls.end_all()
        word = reason_of(reason)
        self._reason = reason
        if word == "stop" and self._tool_calls.called:
            word = "tool-calls"
        self.answer.end()
        return [*events, Finished(word)]

    def _used(self, chunk: Fields, usage: t.Any, *, of_choices: bool) -> Sequence[Event]:
        """Usage within one answer replaces, of several it adds up."""
        reported = used(usage)
        written = reported.output_tokens or 0
        another = not self.answer.open and written < self._output_tokens
        if not of_choices and not self.answer.begun:
            # An application that passes on only this chunk of each answer.
            another = another or self._id not in (None, chunk.get("id"))
            self._id = chunk.get("id")
        if another:
            self.answer.call = self._accounting.new_call()
        self._output_tokens = written
        return self._accounting.used(self.answer.call, reported)

    def _call_parts(self, calls: t.Any) -> Sequence[Event]:
        return self._tool_calls.parts([part_of(call) for call in items_of(calls)])

    def _function_call(self, call: t.Any) -> Sequence[Event]:
        fields = fields_of(call)
        part = Part("function_call", None, fields.get("name"), fields.get("arguments"))
        return self._tool_calls.parts([part])

    def _annotations(self, annotations: t.Any) -> Sequence[Event]:
        events: list[Event] = []
        for annotation in items_of(annotations):
            cited = field_of(annotation, "url_citation")
            events += self._accounting.url(field_of(cited, "url"), field_of(cited, "title"))
        return events

    def _cited(self, chunk: Fields) -> list[Event]:
        """Perplexity's sources, which it repeats with every chunk."""
        events: list[Event] = []
        for result in items_of(chunk.get("search_results")):
            events += self._accounting.url(field_of(result, "url"), field_of(result, "title"))
        for cited in items_of(chunk.get("citations")):
            url = cited if isinstance(cited, str) else field_of(cited, "url")
            events += self._accounting.url(url)
        return events

    def _helper(self, kind: str, event: Fields) -> Sequence[Event]:
        """The events of ``client.chat.completions.stream()``.

        Each chunk is followed by events that repeat it. They count only where an application passes on
        those alone.
        """
        if kind == "chunk":
            self._saw_chunks = True
            return self.events(event.get("chunk"))
        if self._saw_chunks:
            return ()
        self._begin()
        match kind:
            case "content.delta" | "refusal.delta":
                return content(event.get("delta"))
            case "tool_calls.function.arguments.delta":
                delta = event.get("arguments_delta")
                return self._tool_calls.parts(
                    [Part(event.get("index"), None, event.get("name"), delta)]
                )
            case "tool_calls.function.arguments.done":
                return self._tool_calls.end((None, event.get("index")), event.get("arguments"))
            case _:
                return ()


FIRST = (0, None, "0")
"""Indices of the choice that is read."""

HELPER_EVENTS = frozenset(
    [
        "chunk",
        "content.delta",
        "content.done",
        "refusal.delta",
        "refusal.done",
        "logprobs.content.delta",
        "logprobs.content.done",
        "logprobs.refusal.delta",
        "logprobs.refusal.done",
        "tool_calls.function.arguments.delta",
        "tool_calls.function.arguments.done",
    ]
)


class Without:
    """Fields without one of them."""

    __slots__ = ("_fields", "_name")

    def __init__(self, fields: Fields, name: str) -> None:
        self._fields = fields
        self._name = name

    def get(self, name: str, /) -> t.Any:
        return None if name == self._name else self._fields.get(name)


def part_of(call: t.Any) -> Part:
    """One entry of ``tool_calls``. Custom tools have free text where functions have JSON."""
    fields = fields_of(call)
    function, custom = fields.get("function"), fields.get("custom")
    tool = fields_of(function or custom)
    arguments = tool.get("arguments")
    index, id = fields.get("index"), fields.get("id")
    return Part(
        index if isinstance(index, int | str) else None,
        id if isinstance(id, str) else None,
        text_of(tool.get("name")),
        tool.get("input") if arguments is None else arguments,
        function is None and custom is not None,
    )


def content(value: t.Any) -> list[Event]:
    if isinstance(value, str):
        return [value] if value else []
    events: list[Event] = []
    for part in items_of(value):  # Mistral's reasoning models send a list of parts.
        if thoughts := field_of(part, "thinking"):
            events += [Reasoning(event) for event in content(thoughts) if isinstance(event, str)]
        else:
            events += content(part if isinstance(part, str) else field_of(part, "text"))
    return events


def reasoning(value: t.Any) -> list[Event]:
    """A string, or OpenRouter's list of details, some of which are encrypted."""
    if isinstance(value, str):
        return [Reasoning(value)]
    details = (field_of(it, "text") or field_of(it, "summary") for it in items_of(value))
    return [Reasoning(text) for text in details if isinstance(text, str) and text]


def transcript(audio: t.Any) -> Sequence[Event]:
    return content(field_of(audio, "transcript"))


def images(pictures: t.Any) -> Sequence[Event]:
    urls = (field_of(field_of(picture, "image_url"), "url") for picture in items_of(pictures))
    return [File(url, media_type_of(url)) for url in urls if isinstance(url, str) and url]


def media_type_of(url: str) -> str:
    """The type a ``data:`` URL names; of another URL only that it is an image is known."""
    return url[5:].partition(";")[0] if url.startswith("data:") else "image/*"


def first_count(usage: t.Any, *names: str) -> int | None:
    counts = (count_of(usage, name) for name in names)
    return next((count for count in counts if count is not None), None)


def used(usage: t.Any) -> Usage:
    fields = fields_of(usage)
    cached = count_of(fields.get("prompt_tokens_details"), "cached_tokens")
    if cached is None:
        cached = count_of(usage, "prompt_cache_hit_tokens")
    return Usage(
        input_tokens=first_count(usage, "prompt_tokens", "input_tokens"),
        output_tokens=first_count(usage, "completion_tokens", "output_tokens"),
        reasoning_tokens=count_of(fields.get("completion_tokens_details"), "reasoning_tokens"),
        cached_tokens=cached,
    )
