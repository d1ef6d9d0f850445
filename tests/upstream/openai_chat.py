"""OpenAI Chat Completions, with the reasoning fields other vendors added to it.

``reasoning_content`` is DeepSeek's word, ``reasoning`` OpenRouter's; a model whose name begins with
``openrouter/`` uses the second.
"""

from __future__ import annotations

from tests.upstream.dialect import CREATED
from tests.upstream.dialect import Frames
from tests.upstream.dialect import Json
from tests.upstream.dialect import data
from tests.upstream.stories import Call
from tests.upstream.stories import Cite
from tests.upstream.stories import Cut
from tests.upstream.stories import Fail
from tests.upstream.stories import Image
from tests.upstream.stories import Pause
from tests.upstream.stories import Story
from tests.upstream.stories import Text
from tests.upstream.stories import Think

CONTENT_TYPE = "text/event-stream; charset=utf-8"

FINISH = {
    "stop": "stop",
    "length": "length",
    "tool-calls": "tool_calls",
    "content-filter": "content_filter",
}


def frames(story: Story, model: str, body: Json) -> Frames:
    asked = (body.get("stream_options") or {}).get("include_usage")

    def chunk(delta: Json, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return data(envelope(model, [choice]) | ({"usage": None} if asked else {}))

    yield chunk({"role": "assistant", "content": ""})
    calls = 0
    for step in story.steps:
        match step:
            case Text():
                yield chunk({"content": step.text})
            case Think():
                yield chunk({thinking_field(model): step.text})
            case Call():
                yield from (chunk({"tool_calls": [part]}) for part in call_parts(calls, step))
                calls += 1
            case Cite():
                yield chunk({"annotations": [annotation(step)]})
            case Image():
                yield chunk({"images": [image(step)]})
            case Fail():
                yield data(error(503, step.message))
                return
            case Pause() | Cut():
                yield step
    yield chunk({}, FINISH[story.finish])
    if asked:
        yield data(envelope(model, []) | {"usage": usage(story)})
    yield b"data: [DONE]\n\n"


def whole(story: Story, model: str, body: Json) -> Json:
    message: Json = {"role": "assistant", "content": story.text or None, "refusal": None}
    if story.thoughts:
        message[thinking_field(model)] = story.thoughts
    if story.calls:
        message["tool_calls"] = [whole_call(call) for call in story.calls]
    if story.citations:
        message["annotations"] = [annotation(cite) for cite in story.citations]
    if story.images:
        message["images"] = [image(picture) for picture in story.images]
    choice = {"index": 0, "message": message, "finish_reason": FINISH[story.finish]}
    return envelope(model, [choice]) | {"object": "chat.completion", "usage": usage(story)}


def error(status: int, message: str) -> Json:
    return {
        "error": {"message": message, "type": "server_error", "param": None, "code": str(status)}
    }


def thinking_field(model: str) -> str:
    return "reasoning" if model.startswith("openrouter/") else "reasoning_content"


def envelope(model: str, choices: list[Json]) -> Json:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": model,
        "system_fingerprint": "fp_1",
        "choices": choices,
    }


def call_parts(index: int, call: Call) -> list[Json]:
    function = {"name": call.name, "arguments": ""}
    first = {"index": index, "id": call.id, "type": "function", "function": function}
    return [first, *({"index": index, "function": {"arguments": piece}} for piece in call.pieces)]


def whole_call(call: Call) -> Json:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def annotation(cite: Cite) -> Json:
    citation = {"url": cite.url, "title": cite.title, "start_index": 0, "end_index": 3}
    return {"type": "url_citation", "url_citation": citation}


def image(picture: Image) -> Json:
    url = f"data:{picture.media_type};base64,{picture.base64}"
    return {"type": "image_url", "image_url": {"url": url}, "index": 0}


def usage(story: Story) -> Json:
    return {
        "prompt_tokens": story.input_tokens,
        "completion_tokens": story.output_tokens,
        "total_tokens": story.input_tokens + story.output_tokens,
        "prompt_tokens_details": {"cached_tokens": story.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": story.reasoning_tokens},
    }
