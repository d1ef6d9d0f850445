"""OpenAI Responses: items that are added, grow and are done."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator
from itertools import count

from tests.upstream.dialect import CREATED
from tests.upstream.dialect import Frames
from tests.upstream.dialect import Json
from tests.upstream.dialect import named
from tests.upstream.stories import Call
from tests.upstream.stories import Cite
from tests.upstream.stories import Cut
from tests.upstream.stories import Fail
from tests.upstream.stories import Image
from tests.upstream.stories import Pause
from tests.upstream.stories import Step
from tests.upstream.stories import Story
from tests.upstream.stories import Text
from tests.upstream.stories import Think

CONTENT_TYPE = "text/event-stream; charset=utf-8"

INCOMPLETE = {"length": "max_output_tokens", "content-filter": "content_filter"}
KINDS: dict[type, str] = {
    Text: "message",
    Cite: "message",
    Think: "reasoning",
    Call: "function_call",
    Image: "image_generation_call",
}


def frames(story: Story, model: str, body: Json) -> Frames:
    number = count()

    def event(kind: str, **fields: object) -> bytes:
        return named(kind, {"type": kind, "sequence_number": next(number), **fields})

    begun = response(model, "in_progress")
    yield event("response.created", response=begun)
    yield event("response.in_progress", response=begun)
    done: list[Json] = []
    for group in items(story):
        if isinstance(group, Pause | Cut):
            yield group
            continue
        if isinstance(group, Fail):
            failed = response(model, "failed", done)
            failed["error"] = {"code": "server_error", "message": group.message}
            yield event("response.failed", response=failed)
            return
        item = whole_item(len(done), group)
        for kind, fields in growth(group, item):
            if kind is None:
                yield fields
            else:
                yield event(kind, output_index=len(done), **fields)
        done.append(item)
    incomplete = story.finish in INCOMPLETE
    kind = "incomplete" if incomplete else "completed"
    yield event(f"response.{kind}", response=ended(story, model, done))


def whole(story: Story, model: str, body: Json) -> Json:
    groups = [group for group in items(story) if isinstance(group, list)]
    return ended(story, model, [whole_item(i, group) for i, group in enumerate(groups)])


def error(status: int, message: str) -> Json:
    return {
        "error": {"message": message, "type": "server_error", "param": None, "code": str(status)}
    }


def items(story: Story) -> Iterator[list[Step] | Pause | Cut | Fail]:
    """Steps that make one item together. A pause does not end the item that goes on after it."""
    group: list[Step] = []
    for step in story.steps:
        if isinstance(step, Cut | Fail):
            yield group
            yield step
            return
        joins = group and (
            isinstance(step, Pause)
            or (not isinstance(step, Call | Image) and KINDS[type(step)] == KINDS[type(group[0])])
        )
        if group and not joins:
            yield group
            group = []
        group.append(step)
    if group:
        yield group


def growth(group: list[Step], item: Json) -> Iterator[tuple[str | None, t.Any]]:
    """What is said of an item, without its index: the event's type and its other fields."""
    of = {"item_id": item["id"]}
    part = {**of, "content_index": 0}
    kind = item["type"]
    yield "response.output_item.added", {"item": started(item)}
    if kind == "message":
        empty = {"type": "output_text", "text": "", "annotations": []}
        yield "response.content_part.added", {**part, "part": empty}
    if kind == "reasoning":
        empty = {"type": "summary_text", "text": ""}
        yield "response.reasoning_summary_part.added", {**of, "summary_index": 0, "part": empty}
    for step in group:
        match step:
            case Text():
                yield "response.output_text.delta", {**part, "delta": step.text, "logprobs": []}
            case Think():
                more = {"summary_index": 0, "delta": step.text}
                yield "response.reasoning_summary_text.delta", {**of, **more}
            case Cite():
                more = {"annotation_index": 0, "annotation": annotation(step)}
                yield "response.output_text.annotation.added", {**part, **more}
            case Call():
                for piece in step.pieces:
                    yield "response.function_call_arguments.delta", {**of, "delta": piece}
                done = {"arguments": step.arguments, "name": step.name}
                yield "response.function_call_arguments.done", {**of, **done}
            case Image():
                yield "response.image_generation_call.generating", of
            case Pause():
                yield None, step
    if kind == "message":
        text = item["content"][0]
        yield "response.output_text.done", {**part, "text": text["text"], "logprobs": []}
        yield "response.content_part.done", {**part, "part": text}
    if kind == "reasoning":
        said = item["summary"][0]
        summary = {**of, "summary_index": 0}
        yield "response.reasoning_summary_text.done", {**summary, "text": said["text"]}
        yield "response.reasoning_summary_part.done", {**summary, "part": said}
    yield "response.output_item.done", {"item": item}


def whole_item(index: int, group: list[Step]) -> Json:
    first = group[0]
    said = Story(tuple(group))
    item: Json = {"id": f"item_{index}", "type": KINDS[type(first)], "status": "completed"}
    match first:
        case Call():
            return item | {"call_id": first.id, "name": first.name, "arguments": first.arguments}
        case Image():
            return item | {"result": first.base64, "output_format": "png"}
        case Think():
            del item["status"]
            return item | {"summary": [{"type": "summary_text", "text": said.thoughts}]}
        case _:
            cites = [annotation(cite) for cite in said.citations]
            text = {"type": "output_text", "text": said.text, "annotations": cites, "logprobs": []}
            return item | {"role": "assistant", "content": [text]}


def started(item: Json) -> Json:
    """The item as it is when nothing of it has been said."""
    empty: Json = {"content": [], "summary": [], "arguments": "", "result": None}
    status = {"status": "in_progress"} if "status" in item else {}
    return item | {key: value for key, value in empty.items() if key in item} | status


def annotation(cite: Cite) -> Json:
    place = {"start_index": 0, "end_index": 3}
    return {"type": "url_citation", "url": cite.url, "title": cite.title, **place}


def response(model: str, status: str, output: list[Json] | None = None) -> Json:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "model": model,
        "output": output or [],
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": None,
    }


def ended(story: Story, model: str, output: list[Json]) -> Json:
    reason = INCOMPLETE.get(story.finish)
    one = response(model, "incomplete" if reason else "completed", output)
    one["incomplete_details"] = {"reason": reason} if reason else None
    one["usage"] = {
        "input_tokens": story.input_tokens,
        "input_tokens_details": {"cached_tokens": story.cached_tokens},
        "output_tokens": story.output_tokens,
        "output_tokens_details": {"reasoning_tokens": story.reasoning_tokens},
        "total_tokens": story.input_tokens + story.output_tokens,
    }
    return one
