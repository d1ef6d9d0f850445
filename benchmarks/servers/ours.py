"""This project, with everything on: heartbeats, disconnect watcher, resume, limits, signals."""

from __future__ import annotations

import json
import os
import threading
import typing as t
from collections.abc import AsyncIterator
from collections.abc import Iterator

from flask import Flask

from benchmarks.servers.tokens import FREED
from benchmarks.servers.tokens import Plan
from benchmarks.servers.tokens import async_provider
from benchmarks.servers.tokens import provider
from flask_aistream import AIStream
from flask_aistream import ChatRequest

ai = AIStream()
gate = threading.Event()


@ai.provider
def stream(request: ChatRequest) -> Iterator[str]:
    return provider(Plan.of(request.params))


@ai.provider(name="async-stream")
async def async_stream(request: ChatRequest) -> AsyncIterator[str]:
    async for text in async_provider(Plan.of(request.params)):
        yield text


@ai.provider
def fan(request: ChatRequest) -> Iterator[str]:
    gate.wait()
    yield from provider(Plan.of(request.params))


app = Flask(__name__)
# Crowds of anonymous readers are measured.
app.config["AISTREAM_MAX_ANONYMOUS_RUNS"] = None
app.config.update(
    {name: json.loads(value) for name, value in os.environ.items() if name.startswith("AISTREAM_")}
)
app.register_blueprint(ai, url_prefix="/ai")


@app.get("/go")
def go() -> str:
    gate.set()
    return "ok"


@app.get("/freed")
def freed() -> t.Any:
    return FREED.times
