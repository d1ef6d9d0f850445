"""Google's Gemini ``generateContent``: a stream is a row of whole, small responses."""

from __future__ import annotations

import json

from tests.upstream.dialect import Frames
from tests.upstream.dialect import Json
from tests.upstream.dialect import data
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

CONTENT_TYPE = "text/event-stream"

# The model says STOP where it calls a tool too.
FINISH = {"stop": "STOP", "tool-calls": "STOP", "length": "MAX_TOKENS", "content-filter": "SAFETY"}


def frames(story: Story, model: str, body: Json) -> Frames:
    for step in story.steps:
        if isinstance(step, Pause | Cut):
            yield step
        elif isinstance(step, Fail):
            yield data(error(503, step.message))
            return
        elif isinstance(step, Cite):
            yield data(response(story, model, [], [step]))
        else:
            yield data(response(story, model, [part(step)]))
    last = response(story, model, [{"text": ""}])
    last["candidates"][0]["finishReason"] = FINISH[story.finish]
    yield data(last)


def whole(story: Story, model: str, body: Json) -> Json:
    kinds = Text | Think | Call | Image
    parts = [part(step) for step in story.steps if isinstance(step, kinds)]
    answer = response(story, model, parts, story.citations)
    answer["candidates"][0]["finishReason"] = FINISH[story.finish]
    return answer


def error(status: int, message: str) -> Json:
    return {"error": {"code": status, "message": message, "status": "UNAVAILABLE"}}


def response(
    story: Story, model: str, parts: list[Json], citations: list[Cite] | None = None
) -> Json:
    candidate: Json = {"content": {"role": "model", "parts": parts}, "index": 0}
    if citations:
        pages = [{"web": {"uri": cite.url, "title": cite.title}} for cite in citations]
        candidate["groundingMetadata"] = {"groundingChunks": pages, "webSearchQueries": ["docs"]}
    return {
        "candidates": [candidate],
        "usageMetadata": usage(story),
        "modelVersion": model,
        "responseId": "resp-1",
    }


def part(step: Step) -> Json:
    match step:
        case Text():
            return {"text": step.text}
        case Think():
            return {"text": step.text, "thought": True}
        case Call():
            args = json.loads(step.arguments or "{}")
            return {"functionCall": {"id": step.id, "name": step.name, "args": args}}
        case Image():
            return {"inlineData": {"mimeType": step.media_type, "data": step.base64}}
        case _:
            raise TypeError(step)


def usage(story: Story) -> Json:
    """Thoughts are counted beside the answer's tokens, not among them."""
    return {
        "promptTokenCount": story.input_tokens,
        "cachedContentTokenCount": story.cached_tokens,
        "candidatesTokenCount": story.output_tokens - story.reasoning_tokens,
        "thoughtsTokenCount": story.reasoning_tokens,
        "totalTokenCount": story.input_tokens + story.output_tokens,
    }
