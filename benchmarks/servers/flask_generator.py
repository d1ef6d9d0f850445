"""The Flask generator that everyone copies: ``return Response(generate())``. No features."""

from __future__ import annotations

import json
import threading
import typing as t
from collections.abc import Iterator
from queue import SimpleQueue

from flask import Flask
from flask import Response
from flask import request

from benchmarks.servers.tokens import FREED
from benchmarks.servers.tokens import Plan
from benchmarks.servers.tokens import provider

app = Flask(__name__)
readers: list[SimpleQueue[str | None]] = []


@app.get("/stream")
def stream() -> Response:
    plan = Plan.of(request.args)

    def generate() -> Iterator[str]:
        for number, text in enumerate(provider(plan)):
            yield frame(number, text)

    return Response(generate(), mimetype="text/event-stream")


@app.get("/fan")
def fan() -> Response:
    queue: SimpleQueue[str | None] = SimpleQueue()
    readers.append(queue)

    def generate() -> Iterator[str]:
        yield ": hello\n\n"
        while (block := queue.get()) is not None:
            yield block

    return Response(generate(), mimetype="text/event-stream")


@app.get("/go")
def go() -> str:
    threading.Thread(target=publish, args=[Plan.of(request.args)]).start()
    return "ok"


def publish(plan: Plan) -> None:
    for number, text in enumerate(provider(plan)):
        block = frame(number, text)
        for queue in readers:
            queue.put(block)
    for queue in readers:
        queue.put(None)


@app.get("/freed")
def freed() -> t.Any:
    return FREED.times


def frame(number: int, text: str) -> str:
    return f"id: {number}\ndata: {json.dumps({'text': text})}\n\n"
