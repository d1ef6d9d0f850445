"""An application whose providers record events in a file, for the servers under test.

Facts go to the file named by ``FACTS``, one JSON line each, with the machine's monotonic time.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
import typing as t
from collections.abc import AsyncIterator
from collections.abc import Iterator

from flask import Flask
from flask import request as http_request

from flask_aistream import AIStream
from flask_aistream import ChatRequest
from flask_aistream import RunEnded
from flask_aistream import run_ended
from flask_aistream.web.extension import install

FACTS = os.environ.get("FACTS", os.devnull)


def note(fact: str, **more: t.Any) -> None:
    line = json.dumps({"fact": fact, "at": time.monotonic(), "pid": os.getpid(), **more})
    with open(FACTS, "a", encoding="utf-8") as file:
        file.write(line + "\n")


def was_noted(fact: str, run: str) -> bool:
    with open(FACTS, "a+", encoding="utf-8") as file:
        file.seek(0)
        return any(it["fact"] == fact and it.get("run") == run for it in map(json.loads, file))


ai = AIStream()


@ai.identify
def identify() -> str | None:
    return http_request.headers.get("X-User")


@ai.provider
def say(request: ChatRequest) -> Iterator[str]:
    """The list of texts it is given, each after ``pause`` seconds."""
    note("called", run=request.run)
    try:
        for text in request.params["texts"]:
            time.sleep(request.params.get("pause", 0))
            yield text
    finally:
        note("closed", run=request.run)


@ai.provider
def count(request: ChatRequest) -> Iterator[str]:
    """``n`` numbered tokens, ``pause`` seconds apart, or until there is the file ``until``."""
    note("called", run=request.run)
    pause = float(request.params.get("pause", 0))
    until = request.params.get("until")
    try:
        for number in range(int(request.params["n"])):
            if until and os.path.exists(until):
                break
            if pause:
                time.sleep(pause)
            yield f"{number} "
    finally:
        note("closed", run=request.run)


@ai.provider(name="count-on", restart=True)
def count_on(request: ChatRequest) -> Iterator[str]:
    """The same, which goes on where it was lost."""
    note("called", run=request.run, restarts=request.restarts, so_far=request.so_far)
    for number in range(len(request.so_far.split()), int(request.params["n"])):
        time.sleep(float(request.params["pause"]))
        yield f"{number} "


@ai.provider(name="kills", restart=True)
def kills(request: ChatRequest) -> Iterator[str]:
    """Takes its process with it."""
    note("called", run=request.run, restarts=request.restarts)
    yield f"{request.restarts} "
    time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGKILL)


@ai.provider
def silent(request: ChatRequest) -> Iterator[str]:
    """One word, and then nothing for a long time."""
    note("called", run=request.run)
    try:
        yield "Well,"
        time.sleep(20)
        yield "no."
    finally:
        note("closed", run=request.run)


@ai.provider
def lump(request: ChatRequest) -> Iterator[str]:
    """``n`` letters, and then nothing for a long time."""
    yield "y" * int(request.params["n"])
    time.sleep(20)
    yield "no."


@ai.provider(name="silent-async")
async def silent_async(request: ChatRequest) -> AsyncIterator[str]:
    note("called", run=request.run)
    try:
        yield "Well,"
        await asyncio.sleep(20)
        yield "no."
    finally:
        note("closed", run=request.run)


@ai.provider(name="count-async")
async def count_async(request: ChatRequest) -> AsyncIterator[str]:
    pause = float(request.params.get("pause", 0))
    for number in range(int(request.params["n"])):
        if pause:
            await asyncio.sleep(pause)
        yield f"{number} "


WAITING = {"together": 0, "together-async": 0}
"""Runs that began, of the providers below; each begins to speak when all are there."""


@ai.provider
def together(request: ChatRequest) -> Iterator[str]:
    WAITING["together"] += 1
    while WAITING["together"] < request.params["runs"]:
        time.sleep(0.05)
    for number in range(request.params["n"]):
        yield f"{number} "
        time.sleep(0.02)


@ai.provider(name="together-async")
async def together_async(request: ChatRequest) -> AsyncIterator[str]:
    WAITING["together-async"] += 1
    while WAITING["together-async"] < request.params["runs"]:
        await asyncio.sleep(0.05)
    for number in range(request.params["n"]):
        yield f"{number} "
        await asyncio.sleep(0.02)


@ai.provider(name="mute")
def mute(request: ChatRequest) -> Iterator[str]:
    """Nothing at all, for a long time."""
    try:
        time.sleep(20)
        yield "at last"
    finally:
        note("closed", run=request.run)


@ai.provider(name="fails-late")
def fails_late(request: ChatRequest) -> Iterator[str]:
    yield "so far "
    raise RuntimeError("the password is hunter2")


@ai.provider(name="fails-early")
def fails_early(request: ChatRequest) -> Iterator[str]:
    yield leak()


def leak() -> str:
    raise RuntimeError("the password is hunter2")


@ai.provider(name="openai")
def openai_sdk(request: ChatRequest) -> Iterator[t.Any]:
    """Ignores everything and blocks in the real SDK's read."""
    from openai import OpenAI

    client = OpenAI(base_url=os.environ["UPSTREAM"] + "/v1", api_key="none")
    messages: t.Any = request.messages
    try:
        yield from client.chat.completions.create(
            model=request.params["model"], messages=messages, stream=True
        )
    finally:
        note("closed", run=request.run)


@ai.provider(name="openai-raw")
def openai_raw(request: ChatRequest) -> t.Any:
    return raw_client().create(**asked(request))


@ai.provider(name="openai-lean")
def openai_lean(request: ChatRequest) -> t.Any:
    from flask_aistream.upstream import http_client

    return raw_client(http_client=http_client()).create(**asked(request))


@ai.provider(name="openai-raw-async")
def openai_raw_async(request: ChatRequest) -> t.Any:
    return raw_client("AsyncOpenAI").create(**asked(request))


def raw_client(kind: str = "OpenAI", **options: t.Any) -> t.Any:
    import openai

    make = getattr(openai, kind)
    client = make(base_url=os.environ["UPSTREAM"] + "/v1", api_key="none", **options)
    return client.chat.completions.with_streaming_response


def asked(request: ChatRequest) -> dict[str, t.Any]:
    return {"model": request.params["model"], "messages": request.messages, "stream": True}


@ai.provider(name="anthropic")
def anthropic_sdk(request: ChatRequest) -> Iterator[t.Any]:
    from anthropic import Anthropic

    client = Anthropic(base_url=os.environ["UPSTREAM"], api_key="none")
    model: str = request.params["model"]
    messages: t.Any = request.messages
    with client.messages.stream(model=model, max_tokens=100, messages=messages) as stream:
        yield from stream.text_stream


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.from_prefixed_env("APP")
    app.register_blueprint(ai, url_prefix="/ai")
    app.add_url_rule("/open", "open", lambda: str(len(install(app).process.registry)))
    run_ended.connect(ended, app)
    return app


@ai.provider(name="last-words")
def last_words(request: ChatRequest) -> Iterator[str]:
    """Its process dies before `run_ended` is delivered."""
    yield "Farewell."
    time.sleep(float(request.params["pause"]))


def ended(sender: Flask, ended: RunEnded) -> None:
    if ended.run.provider == "last-words" and not was_noted("dying", ended.run.id):
        note("dying", run=ended.run.id)
        os.kill(os.getpid(), signal.SIGKILL)
    outcome = type(ended.outcome).__name__
    note(
        "ended",
        run=ended.run.id,
        outcome=outcome,
        text=ended.text,
        seconds=ended.seconds,
        turn=[message["content"] for message in [*ended.question, *ended.answer]],
    )
