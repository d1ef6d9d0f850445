"""What the Open Responses compliance suite requires of a server over HTTP, but for compaction."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_aistream import AIStream
from flask_aistream import ChatRequest
from flask_aistream import Finished
from flask_aistream.core import events as ev

NUMBER, TEXT, OBJECT, LIST, FLAG = (int, float), (str,), (dict,), (list,), (bool,)
NULL = (type(None),)

REQUIRED: dict[str, tuple[type, ...]] = {
    "id": TEXT,
    "object": TEXT,
    "created_at": (int,),
    "completed_at": (int, *NULL),
    "status": TEXT,
    "incomplete_details": OBJECT + NULL,
    "model": TEXT,
    "previous_response_id": TEXT + NULL,
    "instructions": TEXT + NULL,
    "output": LIST,
    "error": OBJECT + NULL,
    "tools": LIST,
    "tool_choice": TEXT + OBJECT,
    "truncation": TEXT,
    "parallel_tool_calls": FLAG,
    "text": OBJECT,
    "top_p": NUMBER,
    "presence_penalty": NUMBER,
    "frequency_penalty": NUMBER,
    "top_logprobs": (int,),
    "temperature": NUMBER,
    "reasoning": OBJECT + NULL,
    "user": TEXT + NULL,
    "usage": OBJECT + NULL,
    "max_output_tokens": (int, *NULL),
    "max_tool_calls": (int, *NULL),
    "store": FLAG,
    "background": FLAG,
    "service_tier": TEXT,
    "metadata": OBJECT,
    "safety_identifier": TEXT + NULL,
    "prompt_cache_key": TEXT + NULL,
}
"""The required fields of a response object, and their JSON types."""

TOOL = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}
IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,AA"}

CASES: dict[str, dict[str, t.Any]] = {
    "text": {"input": [{"type": "message", "role": "user", "content": "Hi"}]},
    "system prompt": {
        "input": [
            {"type": "message", "role": "system", "content": "You are a pirate."},
            {"type": "message", "role": "user", "content": "Hi"},
        ]
    },
    "tool call": {"input": "Hi", "tools": [TOOL]},
    "image": {"input": [{"role": "user", "content": [{"type": "input_text", "text": "?"}, IMAGE]}]},
    "several turns": {
        "input": [
            {"type": "message", "role": "user", "content": "My name is Alice."},
            {"type": "message", "role": "assistant", "content": "Hello Alice!"},
            {"type": "message", "role": "user", "content": "What is my name?"},
        ]
    },
    "every field": {
        "input": "Hi",
        "instructions": "Be brief.",
        "metadata": {"k": "v"},
        "temperature": 0.5,
        "top_p": 0.9,
        "max_output_tokens": 9,
        "tool_choice": "none",
        "parallel_tool_calls": False,
        "reasoning": {"effort": "low"},
        "text": {"format": {"type": "json_object"}},
        "truncation": "auto",
        "service_tier": "flex",
        "safety_identifier": "s",
        "prompt_cache_key": "p",
        "user": "u",
    },
}


@pytest.fixture
def client() -> FlaskClient:
    ai = AIStream()

    @ai.provider
    def model(request: ChatRequest) -> Iterator[t.Any]:
        if request.params.get("tools"):
            yield ev.ToolCallStarted("c1", "weather")
            yield ev.ToolCallArguments("c1", "{}")
            yield Finished("tool-calls")
            return
        yield "Hello"
        yield ev.Usage(3, 1)

    app = Flask(__name__)
    app.register_blueprint(ai, url_prefix="/ai")
    return app.test_client()


def check(response: dict[str, t.Any], sent: dict[str, t.Any]) -> None:
    for name, types in REQUIRED.items():
        assert type(response[name]) in types, name
    assert response["status"] == "completed"
    assert response["completed_at"] >= response["created_at"]
    for name, value in sent.items():
        if isinstance(value, dict):
            assert response[name] == {**response[name], **value}
        elif name not in ("input", "tools"):
            assert response[name] == value
    (item,) = response["output"]
    if "tools" in sent:
        assert (item["type"], item["name"], item["arguments"]) == ("function_call", "weather", "{}")
        assert response["tools"][0].keys() >= {
            "type",
            "name",
            "description",
            "parameters",
            "strict",
        }
    else:
        assert (item["type"], item["status"]) == ("message", "completed")
        assert response["usage"]["total_tokens"] == 4


@pytest.mark.parametrize("case", CASES)
def test_a_response_has_every_required_field(client: FlaskClient, case: str) -> None:
    sent = CASES[case]
    answer = client.post("/ai/v1/responses", json={"model": "model", **sent})
    check(answer.get_json(), sent)


@pytest.mark.parametrize("case", CASES)
def test_a_stream_ends_with_the_same_response(client: FlaskClient, case: str) -> None:
    sent = CASES[case]
    answer = client.post("/ai/v1/responses", json={"model": "model", "stream": True, **sent})
    lines = [line for line in answer.text.split("\n") if line.startswith("data: ")]
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    types = [event["type"] for event in events]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert types[:3] == ["response.created", "response.in_progress", "response.output_item.added"]
    if "tools" in sent:
        for kind in ("delta", "done"):
            assert f"response.function_call_arguments.{kind}" in types
    assert types[-2:] == ["response.output_item.done", "response.completed"]
    check(events[-1]["response"], sent)
    for event in events[:2]:  # Also before the end.
        assert REQUIRED.keys() <= event["response"].keys()
