"""Deviations of servers that copy a wire, and of loops that pass on only some chunks."""

from __future__ import annotations

import logging
import types
import typing as t
from collections.abc import Iterator

import pytest

from flask_aistream.core import events as ev
from flask_aistream.errors import ProviderError
from flask_aistream.providers.accounting import Accounting
from flask_aistream.providers.body import BodyReader
from flask_aistream.providers.table import Chunks
from flask_aistream.runs import pump
from tests.providers.frozen import fake
from tests.providers.outcomes import Outcome
from tests.providers.outcomes import outcome_of
from tests.upstream.scripted import event_stream

SSE = {"Content-Type": "text/event-stream"}
CHUNK = "openai.types.chat:ChatCompletionChunk"


def read(chunks: list[t.Any], done: bool = True) -> list[ev.Event]:
    """The events of a body with these chunks."""
    body = BodyReader(200, SSE, Accounting())
    events = [event for part in event_stream(chunks, done) for event in body.feed(part)]
    return [*events, *body.end()]


def delta(finish: str | None = None, id: str = "c", **fields: t.Any) -> dict[str, t.Any]:
    choice = {"index": 0, "delta": fields, "finish_reason": finish}
    return {"id": id, "object": "chat.completion.chunk", "choices": [choice]}


def part(
    arguments: t.Any = None, name: str | None = None, id: str | None = None, index: t.Any = 0
) -> dict[str, t.Any]:
    function = {"name": name, "arguments": arguments}
    call = {"index": index, "id": id, "function": function}
    return {key: it for key, it in call.items() if it is not None}


def calls(*parts: dict[str, t.Any] | list[dict[str, t.Any]]) -> list[t.Any]:
    """Chunks with these parts, and the end."""
    lists = [it if isinstance(it, list) else [it] for it in parts]
    return [*(delta(tool_calls=it) for it in lists), delta("tool_calls")]


F = ("f", {"a": 1})
G = ("g", {"b": 2})
TOOL_CALLS = {
    "the name in pieces": (
        calls(part("", "get_", "c"), part("", "time"), part("{}")),
        [("get_time", {})],
    ),
    "the name repeated": (
        calls(part("", "f", "c"), part('{"a":', "f", "c"), part("1}", "f", "c")),
        [F],
    ),
    "the name so far repeated": (
        calls(part("", "f", "c"), part("", "f_g"), part("{}")),
        [("f_g", {})],
    ),
    "name and changed id repeated": (
        calls(part("", "f", "c"), part('{"a":', "f", "d"), part("1}", "f", "e")),
        [F],
    ),
    "arguments first": (calls(part('{"a":', id="c"), part("1}", "f", "c")), [F]),
    "whole first and as deltas": (calls(part('{"a":1}', "f", "c"), part('{"a":'), part("1}")), [F]),
    "an empty object first": (calls(part("{}", "f", "c"), part('{"a":'), part("1}")), [F]),
    "an object first": (calls(part({"a": 1}, "f", "c")), [F]),
    "an object first and deltas": (calls(part({}, "f", "c"), part('{"a":1}')), [F]),
    "two in one chunk, one index": (
        calls([part('{"a":1}', "f", "c"), part('{"b":2}', "g", "d")]),
        [F, G],
    ),
    "two on one index by turns": (
        calls(
            part("", "f", "c"), part("", "g", "d"), part('{"a":1}', id="c"), part('{"b":2}', id="d")
        ),
        [F, G],
    ),
    "the same twice without ids": (calls(part('{"a":1}', "f"), part('{"a":1}', "f")), [F, F]),
    "ids without indices": (
        calls(
            part('{"a":', "f", "c", None),
            part("1}", None, "c", None),
            part('{"b":2}', "g", "d", None),
        ),
        [F, G],
    ),
    "neither ids nor indices": (
        calls(
            part('{"a":', "f", None, None),
            part("1}", None, None, None),
            part('{"b":2}', "g", None, None),
        ),
        [F, G],
    ),
    "no arguments": (calls(part("", "f", "c"), part("", "g", "d", 1)), [("f", {}), ("g", {})]),
    "a hole in the list": (calls([t.cast(t.Any, None), part('{"a":1}', "f", "c")]), [F]),
    "incomplete": (calls(part('{"a":', "f", "c")), []),
}


@pytest.mark.parametrize("case", TOOL_CALLS)
def test_tool_calls_are_put_together(case: str) -> None:
    chunks, expected = TOOL_CALLS[case]
    events = read(chunks)

    assert [(it.name, it.arguments) for it in events if isinstance(it, ev.ToolCall)] == expected
    assert events[-1] == ev.Finished("tool-calls")


def usage(read: int, written: int) -> dict[str, int]:
    return {"prompt_tokens": read, "completion_tokens": written}


USAGE: dict[str, tuple[list[t.Any], ev.Usage]] = {
    "in x_groq": ([delta("stop") | {"x_groq": {"usage": usage(3, 2)}}], ev.Usage(3, 2)),
    "at the end, again": (
        [delta("stop") | {"usage": usage(3, 2)}, {"usage": usage(3, 2)}],
        ev.Usage(3, 2),
    ),
    "with an empty list": ([delta("stop"), {"choices": [], "usage": usage(3, 2)}], ev.Usage(3, 2)),
    "with the last choice repeated": (
        [delta("stop", content="a"), delta("stop") | {"usage": usage(3, 2)}],
        ev.Usage(3, 2),
    ),
    "no number": (
        [delta("stop") | {"usage": {"prompt_tokens": "3", "completion_tokens": 2.0}}],
        ev.Usage(None, 2),
    ),
    "no object": ([delta("stop") | {"usage": "unknown"}], ev.Usage()),
}


@pytest.mark.parametrize("case", USAGE)
def test_usage_is_found_wherever_a_server_puts_it(case: str) -> None:
    chunks, expected = USAGE[case]
    found = [it for it in read(chunks) if isinstance(it, ev.Usage)]

    assert (found or [ev.Usage()])[-1] == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_content": "b"},
        {"reasoning": "b"},
        {"thinking": "b"},
        {"reasoning_details": [{"type": "reasoning.text", "text": "b"}]},
        {"reasoning_details": [{"type": "reasoning.summary", "summary": "b"}]},
        {"reasoning": "b", "reasoning_details": [{"text": "b"}], "reasoning_content": "b"},
        {"reasoning": None, "reasoning_details": [{"type": "reasoning.encrypted"}, {"text": "b"}]},
    ],
    ids=repr,
)
def test_reasoning_has_many_names(fields: dict[str, t.Any]) -> None:
    assert read([delta(**fields), delta("stop")])[0] == ev.Reasoning("b")


ODD: list[t.Any] = [
    None,
    [],
    1,
    "text",
    {},
    {"choices": None},
    {"choices": "x"},
    {"choices": [None]},
    {"choices": [{"index": 0}]},
    {"choices": [{"index": 0, "delta": None, "finish_reason": None}]},
    {"choices": [{"index": 0, "delta": "x"}]},
    {"choices": [{"index": 0, "delta": {"tool_calls": None}}]},
    {"choices": [{"index": 0, "delta": {"tool_calls": "x", "annotations": 7}}]},
    {"choices": [{"index": 0, "delta": {"content": {"text": "x"}}}]},
    {"type": "news", "value": 1},
    {"id": "c", "object": "chat.completion.chunk"},
]


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_an_odd_chunk_does_not_end_an_answer(odd: t.Any) -> None:
    assert read([odd, delta(content="x"), odd, delta("stop", content="y")]) == [
        "x",
        "y",
        ev.Finished("stop"),
    ]


CUT: dict[str, list[t.Any]] = {
    "chat, role only": [delta(role="assistant", content="")],
    "chat, second answer": [delta("stop", content="a"), delta(id="d", content="b")],
    "chat, tool call": calls(part('{"a":1}', "f", "c"))[:-1],
    "Anthropic, start only": [{"type": "message_start", "message": {"usage": {"input_tokens": 1}}}],
    "Responses, created": [{"type": "response.created", "response": {"id": "r"}}],
    "Ollama": [{"message": {"content": "a"}, "done": False}],
    "Gemini": [{"candidates": [{"content": {"parts": [{"text": "a"}]}}]}],
}


@pytest.mark.parametrize("case", CUT)
def test_a_body_without_an_end_marker_is_incomplete(case: str) -> None:
    with pytest.raises(ProviderError) as raised:
        read(CUT[case], done=False)

    assert raised.value.code == "upstream_incomplete"


@pytest.mark.parametrize(
    "error",
    [
        {"error": {"message": "m"}},
        {"error": "m"},
        {"type": "error", "message": "overloaded"},
        {"object": "error", "message": "m", "code": 400},
        {"detail": "m"},
        {"message": "m", "code": 500},
        {"status": "error"},
        {"choices": [], "error": {"message": "m"}},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "error"}]},
    ],
    ids=repr,
)
@pytest.mark.parametrize("before", [[], [delta(content="x")]], ids=["at once", "in the middle"])
def test_an_error_object_fails_the_run(error: t.Any, before: list[t.Any]) -> None:
    with pytest.raises(ProviderError):
        read([*before, error])


# Loops of an application's own


def of_sdk(content: str | None = None, finish: str | None = None) -> t.Any:
    choice = types.SimpleNamespace(
        index=0, delta=types.SimpleNamespace(content=content), finish_reason=finish
    )
    return fake(CHUNK, id="c", choices=[choice], usage=None)


COMPLETE = [of_sdk("a"), of_sdk("b"), of_sdk(None, "stop")]


def filtered(request: t.Any) -> Iterator[t.Any]:
    for chunk in COMPLETE:
        if chunk.choices[0].delta.content:
            yield chunk


def test_a_loop_that_leaves_out_the_end_marker_finishes_as_unknown_and_is_logged_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump, "WARNED", set())
    outcomes = [outcome_of(filtered) for _ in range(2)]

    assert outcomes == [Outcome(["a", "b"], ev.Finished("unknown"))] * 2
    assert caplog.text.count("yield Finished()") == 1


def finishes(request: t.Any) -> Iterator[t.Any]:
    yield from filtered(request)
    yield ev.Finished()


def test_a_loop_that_yields_finished_is_complete(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    assert outcome_of(finishes).terminal == ev.Finished("stop")
    assert not caplog.records


BY_HAND: dict[str, tuple[list[ev.Event], ev.FinishReason]] = {
    "a call": ([ev.ToolCall("c", "f", {})], "tool-calls"),
    "an answered call": ([ev.ToolCall("c", "f", {}), ev.ToolResult("c", 1)], "stop"),
    "a failed call": ([ev.ToolCall("c", "f", {}), ev.ToolError("c", "No.")], "stop"),
    "a call, and its own reason": ([ev.ToolCall("c", "f", {}), ev.Finished("length")], "length"),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_tool_calls_by_hand_give_the_reason(case: str) -> None:
    events, reason = BY_HAND[case]
    assert outcome_of(lambda request: iter(events)).terminal == ev.Finished(reason)


# Objects with other kinds of attributes


class Properties:
    """As azure-ai-inference has them."""

    def __init__(self, **fields: t.Any) -> None:
        self._data = fields

    choices = property(lambda self: self._data.get("choices"), lambda self, value: None)
    delta = property(lambda self: self._data.get("delta"), lambda self, value: None)
    content = property(lambda self: self._data.get("content"), lambda self, value: None)


class Slots:
    __slots__ = ("choices",)

    def __init__(self, choices: t.Any) -> None:
        self.choices = choices


OBJECTS = {
    "properties": Properties(choices=[Properties(delta=Properties(content="a"))]),
    "slots": Slots([{"delta": {"content": "a"}}]),
    "Mistral's event": types.SimpleNamespace(data=of_sdk("a")),
}


@pytest.mark.parametrize("kind", OBJECTS)
def test_objects_whose_fields_are_no_plain_attributes_are_read(kind: str) -> None:
    assert Chunks().events(OBJECTS[kind]) == ["a"]


# LangGraph


def test_an_interrupt_of_a_graph_is_data_once() -> None:
    interrupt = types.SimpleNamespace(value={"question": "Sure?"}, id="i1")
    chunks = Chunks()
    events = [
        *chunks.events(("updates", {"__interrupt__": (interrupt,)})),
        *chunks.events(("values", {"messages": [], "__interrupt__": (interrupt,)})),
        *chunks.events({"__interrupt__": (interrupt,)}),
    ]

    assert events == [ev.Data("interrupt", {"question": "Sure?"}, "i1")]
