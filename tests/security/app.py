"""An application under attack, which reports what it holds."""

from __future__ import annotations

import ctypes
import gc
import os
import time
from collections.abc import Iterator

from flask import Flask
from flask import jsonify
from flask import request as http_request
from flask.typing import ResponseReturnValue
from greenlet import greenlet

from flask_aistream import AIStream
from flask_aistream import ChatRequest
from flask_aistream.web.extension import install

WORDS = [f"{number} " for number in range(20)]

ai = AIStream()


@ai.identify
def identify() -> str | None:
    return http_request.headers.get("X-User")


@ai.provider(default_prompt="Hi")
def chat(request: ChatRequest) -> Iterator[str]:
    """Twenty words at once."""
    yield from WORDS


@ai.provider(default_prompt="Hi")
def slow(request: ChatRequest) -> Iterator[str]:
    """A word every tenth of a second, for a minute."""
    for number in range(600):
        time.sleep(0.1)
        yield f"{number} "


@ai.provider(default_prompt="Hi")
def idle(request: ChatRequest) -> Iterator[str]:
    """One word, and then nothing for a minute."""
    yield "Hi"
    time.sleep(60)


@ai.provider(default_prompt="Hi")
def flood(request: ChatRequest) -> Iterator[str]:
    """More than the sockets of both sides buffer."""
    for _ in range(45):
        yield "x" * 10_000
        time.sleep(0.001)


def create_app() -> Flask:
    app = Flask(__name__)
    app.secret_key = "secret"
    app.config.from_prefixed_env("APP")
    app.add_url_rule("/state", "state", lambda: state(app))
    ai.init_app(app, url_prefix="/ai")
    return app


def state(app: Flask) -> ResponseReturnValue:
    """What this process holds, without garbage and freed memory."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    process = install(app).process
    return jsonify(
        pid=os.getpid(),
        megabytes=resident_bytes() / 1024**2,
        descriptors=len(os.listdir("/proc/self/fd")),
        greenlets=sum(isinstance(it, greenlet) and not it.dead for it in gc.get_objects()),
        objects=len(gc.get_objects()),
        runs=process.runner.count,
        connections=len(process.registry),
    )


def resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
