"""FastAPI's ``StreamingResponse`` over the async SDK."""

# No `from __future__ import annotations`: FastAPI reads the annotations.

import json
from collections.abc import AsyncIterator
from typing import Any

from anthropic import AsyncAnthropic
from fastapi import FastAPI
from fastapi import Request
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI

from benchmarks.servers import models

app = FastAPI()
openai = AsyncOpenAI(**models.OPENAI)
anthropic = AsyncAnthropic(**models.ANTHROPIC)


@app.get("/stream")
async def stream(request: Request) -> StreamingResponse:
    query = request.query_params
    return StreamingResponse(
        frames(query.get("wire", "openai"), models.request_of(query)),
        media_type="text/event-stream",
    )


async def frames(wire: str, ask: dict[str, Any]) -> AsyncIterator[str]:
    if wire == "openai":
        chunks, text_of = await openai.chat.completions.create(**ask), models.text_of_openai
    else:
        chunks, text_of = await anthropic.messages.create(**ask), models.text_of_anthropic
    number = 0
    async for chunk in chunks:
        if text := text_of(chunk):
            yield f"id: {number}\ndata: {json.dumps({'text': text})}\n\n"
            number += 1
