"""Folding events into a message."""

from __future__ import annotations

import json
import typing as t

import pytest

from flask_aistream.core import events as ev
from flask_aistream.core.fold import Fold
from tests.core.samples import EVENTS

START = ev.RunStarted("r", "chat")

STORIES: list[t.Any] = [
    pytest.param([], {"status": "running", "text": "", "parts": []}, id="nothing yet"),
    pytest.param(
        [START, "Hel", "", "lo", ev.Finished("length")],
        {
            "status": "finished",
            "text": "Hello",
            "parts": [{"type": "text", "text": "Hello"}],
            "end": {"reason": "length"},
        },
        id="neighbouring deltas are one part",
    ),
    pytest.param(
        ["a", ev.Reasoning("b"), ev.Reasoning("c"), "d", ev.Stopped("client")],
        {
            "status": "stopped",
            "text": "ad",
            "reasoning": "bc",
            "parts": [
                {"type": "text", "text": "a"},
                {"type": "reasoning", "text": "bc"},
                {"type": "text", "text": "d"},
            ],
            "end": {"by": "client"},
        },
        id="parts keep their order",
    ),
    pytest.param(
        [
            ev.ToolCallStarted("1", "weather"),
            ev.ToolCallArguments("1", '{"city": '),
            ev.ToolCallArguments("1", '"Par'),
        ],
        {
            "status": "running",
            "text": "",
            "parts": [
                {
                    "type": "tool",
                    "id": "1",
                    "name": "weather",
                    "state": "arguments",
                    "arguments_text": '{"city": "Par',
                }
            ],
        },
        id="a tool call half said",
    ),
    pytest.param(
        [
            ev.ToolCallStarted("1", "weather"),
            "Let me see.",
            ev.ToolCallArguments("1", "{}"),
            ev.ToolCall("1", "weather", {}),
            ev.ToolCall("2", "clock", {"zone": None}),
            ev.ToolError("2", "no clock"),
            ev.ToolResult("1", 21),
        ],
        {
            "status": "running",
            "text": "Let me see.",
            "parts": [
                {
                    "type": "tool",
                    "id": "1",
                    "name": "weather",
                    "state": "result",
                    "arguments": {},
                    "result": 21,
                },
                {"type": "text", "text": "Let me see."},
                {
                    "type": "tool",
                    "id": "2",
                    "name": "clock",
                    "state": "error",
                    "arguments": {"zone": None},
                    "error": "no clock",
                },
            ],
        },
        id="a tool call is one part from its first sign to its result",
    ),
    pytest.param(
        [
            ev.Data("step", 1, "a"),
            ev.Data("step", 2),
            ev.Data("step", 3, "a"),
            ev.Data("step", 4),
            ev.Data("other", 5, "a"),
        ],
        {
            "status": "running",
            "text": "",
            "parts": [
                {"type": "data", "name": "step", "id": "a", "value": 3},
                {"type": "data", "name": "step", "value": 2},
                {"type": "data", "name": "step", "value": 4},
                {"type": "data", "name": "other", "id": "a", "value": 5},
            ],
        },
        id="data replaces data of its name and id",
    ),
    pytest.param(
        [ev.Data("step", None)],
        {
            "status": "running",
            "text": "",
            "parts": [{"type": "data", "name": "step", "value": None}],
        },
        id="data may be null",
    ),
    pytest.param(
        [
            ev.SourceUrl("s", "https://example.org/"),
            ev.SourceDocument("d", "Report", "application/pdf"),
            ev.File("data:,", "text/plain"),
        ],
        {
            "status": "running",
            "text": "",
            "parts": [
                {"type": "source-url", "id": "s", "url": "https://example.org/"},
                {
                    "type": "source-document",
                    "id": "d",
                    "title": "Report",
                    "media_type": "application/pdf",
                },
                {"type": "file", "url": "data:,", "media_type": "text/plain"},
            ],
        },
        id="sources and files",
    ),
    pytest.param(
        [ev.Usage(input_tokens=10), ev.Usage(output_tokens=1), ev.Usage(output_tokens=7)],
        {
            "status": "running",
            "text": "",
            "parts": [],
            "usage": {"input_tokens": 10, "output_tokens": 7},
        },
        id="a later usage replaces an earlier one field by field",
    ),
    pytest.param(
        [ev.StepStarted("plan"), "a", ev.StepFinished("plan"), "b"],
        {"status": "running", "text": "ab", "parts": [{"type": "text", "text": "ab"}]},
        id="steps leave nothing",
    ),
    pytest.param(
        ["a", ev.Failed("quota", "No more today.", 429)],
        {
            "status": "failed",
            "text": "a",
            "parts": [{"type": "text", "text": "a"}],
            "end": {"code": "quota", "message": "No more today."},
        },
        id="a failure keeps what was said and tells no HTTP status",
    ),
    pytest.param(
        [ev.Interrupted("drain")],
        {"status": "interrupted", "text": "", "parts": [], "end": {"cause": "drain"}},
        id="an interruption",
    ),
]


@pytest.mark.parametrize(("events", "message"), STORIES)
def test_events_fold_into_a_message_at_once_and_one_by_one(
    events: list[ev.Event], message: dict[str, t.Any]
) -> None:
    assert Fold(events).to_json() == message
    fold = Fold()
    for count, event in enumerate(events, 1):
        fold.add([event])
        assert fold.count == count
        fold.to_json()  # Serializing in between has no effect.
    assert fold.to_json() == message


def test_every_event_can_be_folded_and_serialized() -> None:
    fold = Fold(EVENTS)
    assert fold.count == len(EVENTS)
    assert json.loads(json.dumps(fold.to_json()))["status"] == "interrupted"


def test_later_events_do_not_change_a_serialized_message() -> None:
    fold = Fold(["a", ev.ToolCall("1", "weather", {})])
    before = fold.to_json()
    fold.add([ev.ToolResult("1", 21), "b"])
    assert before == Fold(["a", ev.ToolCall("1", "weather", {})]).to_json()
