"""Anthropic Messages: numbered content blocks that open, grow and close."""

from __future__ import annotations

import json

from tests.upstream.dialect import Frames
from tests.upstream.dialect import Json
from tests.upstream.dialect import named
from tests.upstream.stories import Call
from tests.upstream.stories import Cite
from tests.upstream.stories import Cut
from tests.upstream.stories import Fail
from tests.upstream.stories import Pause
from tests.upstream.stories import Step
from tests.upstream.stories import Story
from tests.upstream.stories import Text
from tests.upstream.stories import Think

CONTENT_TYPE = "text/event-stream; charset=utf-8"

FINISH = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool-calls": "tool_use",
    "content-filter": "refusal",
}
TEXT: Json = {"type": "text", "text": ""}


def frames(story: Story, model: str, body: Json) -> Frames:
    yield event("message_start", message=envelope(model) | {"usage": first_usage(story)})
    yield event("ping")
    index, current = -1, None
    for step in story.steps:
        if isinstance(step, Pause | Cut):
            yield step
        elif isinstance(step, Fail):
            yield named("error", error(529, step.message))
            return
        else:
            if block_of(step) != current:
                if current is not None:
                    yield event("content_block_stop", index=index)
                index, current = index + 1, block_of(step)
                yield event("content_block_start", index=index, content_block=opened(step))
            for delta in deltas(step):
                yield event("content_block_delta", index=index, delta=delta)
    if current is not None:
        yield event("content_block_stop", index=index)
    delta = {"stop_reason": FINISH[story.finish], "stop_sequence": None}
    yield event("message_delta", delta=delta, usage={"output_tokens": story.output_tokens})
    yield event("message_stop")


def whole(story: Story, model: str, body: Json) -> Json:
    content: list[Json] = []
    if story.thoughts:
        content.append({"type": "thinking", "thinking": story.thoughts, "signature": "c2ln"})
    if story.text:
        cites = [citation(cite) for cite in story.citations] or None
        content.append({"type": "text", "text": story.text, "citations": cites})
    content += [
        opened(call) | {"input": json.loads(call.arguments or "{}")} for call in story.calls
    ]
    ends = {"content": content, "stop_reason": FINISH[story.finish]}
    return envelope(model) | ends | {"usage": first_usage(story) | last_usage(story)}


def error(status: int, message: str) -> Json:
    kind = "overloaded_error" if status == 529 else "api_error"
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


def event(kind: str, **fields: object) -> bytes:
    return named(kind, {"type": kind, **fields})


def envelope(model: str) -> Json:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def block_of(step: Step) -> object:
    """Neighbours in one block share this: text with its citations, thoughts; each call is its own."""
    return (
        "text" if isinstance(step, Text | Cite) else step if isinstance(step, Call) else type(step)
    )


def opened(step: Step) -> Json:
    if isinstance(step, Call):
        return {"type": "tool_use", "id": step.id, "name": step.name, "input": {}}
    return (
        {"type": "thinking", "thinking": "", "signature": ""} if isinstance(step, Think) else TEXT
    )


def deltas(step: Step) -> list[Json]:
    match step:
        case Text():
            return [{"type": "text_delta", "text": step.text}]
        case Think():
            return [{"type": "thinking_delta", "thinking": step.text}]
        case Cite():
            return [{"type": "citations_delta", "citation": citation(step)}]
        case Call():
            pieces = ("", *step.pieces)
            return [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        case _:  # Claude makes no images.
            return []


def citation(cite: Cite) -> Json:
    return {
        "type": "web_search_result_location",
        "cited_text": "docs",
        "encrypted_index": "ZQ==",
        "title": cite.title,
        "url": cite.url,
    }


def first_usage(story: Story) -> Json:
    """``input_tokens`` leaves out what came from the cache: the vendor's way of counting."""
    return {
        "input_tokens": story.input_tokens - story.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": story.cached_tokens,
        "output_tokens": 1,
        "service_tier": "standard",
    }


def last_usage(story: Story) -> Json:
    return {"output_tokens": story.output_tokens}
