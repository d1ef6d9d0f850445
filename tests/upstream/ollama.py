"""Ollama's ``/api/chat`` and ``/api/generate``: one JSON object a line. Knows no sources.

The lines are ASCII: the real server escapes U+2028 and U+2029, at which its client would cut a line.
"""

from __future__ import annotations

import json

from tests.upstream.dialect import Frames
from tests.upstream.dialect import Json
from tests.upstream.stories import Call
from tests.upstream.stories import Cut
from tests.upstream.stories import Fail
from tests.upstream.stories import Pause
from tests.upstream.stories import Story
from tests.upstream.stories import Text
from tests.upstream.stories import Think

CONTENT_TYPE = "application/x-ndjson"


def frames(story: Story, model: str, body: Json) -> Frames:
    for step in story.steps:
        match step:
            case Text():
                yield line(model, body, {"content": step.text})
            case Think():
                yield line(model, body, {"content": "", "thinking": step.text})
            case Call():
                yield line(model, body, {"content": "", "tool_calls": [call(step)]})
            case Fail():
                yield (json.dumps({"error": step.message}) + "\n").encode()
                return
            case Pause() | Cut():
                yield step
            case _:
                pass
    yield line(model, body, {"content": ""}, last(story))


def whole(story: Story, model: str, body: Json) -> Json:
    message: Json = {"content": story.text}
    if story.thoughts:
        message["thinking"] = story.thoughts
    if story.calls:
        message["tool_calls"] = [call(one) for one in story.calls]
    return answer(model, body, message) | last(story)


def error(status: int, message: str) -> Json:
    return {"error": message}


def line(model: str, body: Json, message: Json, more: Json | None = None) -> bytes:
    return (json.dumps(answer(model, body, message) | (more or {})) + "\n").encode()


def answer(model: str, body: Json, message: Json) -> Json:
    """``generate`` is asked with a prompt, and has text where ``chat`` has messages."""
    said: Json = {"message": {"role": "assistant", **message}}
    if "prompt" in body:
        said = {"response": message.pop("content"), **message}
    return {"model": model, "created_at": "2025-10-09T08:53:20Z", "done": False, **said}


def call(step: Call) -> Json:
    arguments = json.loads(step.arguments or "{}")
    return {"function": {"name": step.name, "arguments": arguments}}


def last(story: Story) -> Json:
    return {
        "done": True,
        "done_reason": "length" if story.finish == "length" else "stop",
        "prompt_eval_count": story.input_tokens,
        "eval_count": story.output_tokens,
        "total_duration": 1,
    }
