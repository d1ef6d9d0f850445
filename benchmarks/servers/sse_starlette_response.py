"""sse-starlette's ``EventSourceResponse``, with its default heartbeat."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from collections.abc import Iterator

from sse_starlette import EventSourceResponse
from sse_starlette import ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.responses import Response
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
    return EventSourceResponse(frames(plan))


async def async_frames(plan: Plan) -> AsyncIterator[ServerSentEvent]:
    number = 0
    async for text in async_provider(plan):
        yield frame(number, text)
        number += 1


def sync_frames(plan: Plan) -> Iterator[ServerSentEvent]:
    for number, text in enumerate(provider(plan)):
        yield frame(number, text)


async def fan(request: Request) -> Response:
    queue = the_fan.join()

    async def frames() -> AsyncIterator[ServerSentEvent]:
        yield ServerSentEvent(comment="hello")
        while (block := await queue.get()) is not None:
            yield block

    return EventSourceResponse(frames())


async def go(request: Request) -> Response:
    the_fan.start(Plan.of(request.query_params), frame)
    return Response("ok")


async def freed(request: Request) -> Response:
    return JSONResponse(FREED.times)


def frame(number: int, text: str) -> ServerSentEvent:
    return ServerSentEvent(data=json.dumps({"text": text}), id=str(number))


app = Starlette(
    routes=[Route(f"/{view.__name__}", view) for view in (stream, fan, go, freed)],
)
