"""FastAPI's own ``fastapi.sse``: a path operation that yields events."""

# No `from __future__ import annotations`: FastAPI reads the annotations.

from collections.abc import AsyncIterable
from collections.abc import Iterable

from fastapi import FastAPI
from fastapi import Request
from fastapi.sse import EventSourceResponse
from fastapi.sse import ServerSentEvent

from benchmarks.servers.fan import Fan
from benchmarks.servers.tokens import FREED
from benchmarks.servers.tokens import Plan
from benchmarks.servers.tokens import async_provider
from benchmarks.servers.tokens import provider

app = FastAPI()
the_fan = Fan()


@app.get("/stream", response_class=EventSourceResponse)
async def stream(request: Request) -> AsyncIterable[ServerSentEvent]:
    number = 0
    async for text in async_provider(Plan.of(request.query_params)):
        yield event(number, text)
        number += 1


@app.get("/sync-stream", response_class=EventSourceResponse)
def sync_stream(request: Request) -> Iterable[ServerSentEvent]:
    for number, text in enumerate(provider(Plan.of(request.query_params))):
        yield event(number, text)


@app.get("/fan", response_class=EventSourceResponse)
async def fan() -> AsyncIterable[ServerSentEvent]:
    queue = the_fan.join()
    yield ServerSentEvent(comment="hello")
    while (block := await queue.get()) is not None:
        yield block


@app.get("/go")
async def go(request: Request) -> str:
    the_fan.start(Plan.of(request.query_params), event)
    return "ok"


@app.get("/freed")
async def freed() -> list[tuple[int, float]]:
    return FREED.times


def event(number: int, text: str) -> ServerSentEvent:
    return ServerSentEvent(data={"text": text}, id=str(number))
