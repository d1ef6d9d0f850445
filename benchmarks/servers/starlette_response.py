"""Starlette's ``StreamingResponse`` over an async generator. No event-stream features."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from collections.abc import Iterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.responses import Response
from starlette.responses import StreamingResponse
from starlette.routing import Route

from benchmarks.servers.fan import Fan
from benchmarks.servers.tokens import FREED
from benchmarks.servers.tokens import Plan
from benchmarks.servers.tokens import async_provider
from benchmarks.servers.tokens import provider

the_fan = Fan()


async def stream(request: Request) -> Response:
    plan = Plan.of(request.query_params)
    frames = sync_frames if request.query_params.get("kind") == "sync" else async_frames
    return StreamingResponse(frames(plan), media_type="text/event-stream")


async def async_frames(plan: Plan) -> AsyncIterator[str]:
    number = 0
    async for text in async_provider(plan):
        yield frame(number, text)
        number += 1


def sync_frames(plan: Plan) -> Iterator[str]:
    for number, text in enumerate(provider(plan)):
        yield frame(number, text)


async def fan(request: Request) -> Response:
    queue = the_fan.join()

    async def frames() -> AsyncIterator[str]:
        yield ": hello\n\n"
        while (block := await queue.get()) is not None:
            yield block

    return StreamingResponse(frames(), media_type="text/event-stream")


async def go(request: Request) -> Response:
    the_fan.start(Plan.of(request.query_params), frame)
    return Response("ok")


async def freed(request: Request) -> Response:
    return JSONResponse(FREED.times)


def frame(number: int, text: str) -> str:
    return f"id: {number}\ndata: {json.dumps({'text': text})}\n\n"


app = Starlette(
    routes=[Route(f"/{view.__name__}", view) for view in (stream, fan, go, freed)],
)
