"""The application that faults happen to. Every call of a provider and every ``run_ended`` is a line of a
ledger that all processes append to, so that what a killed one wrote counts too."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

CLOCK = os.environ.get("CLOCK")
if CLOCK:
    # Before anything takes a reference to it: the wall clock is that many seconds wrong.
    right, wrong = time.time, os.open(CLOCK, os.O_RDONLY)
    time.time = lambda: right() + float(os.pread(wrong, 20, 0) or 0)

from flask import Flask  # noqa: E402
from flask import Response  # noqa: E402
from flask import redirect  # noqa: E402
from flask import send_from_directory  # noqa: E402
from werkzeug.wrappers import Response as BaseResponse  # noqa: E402

from flask_aistream import AIStream  # noqa: E402
from flask_aistream import ChatRequest  # noqa: E402
from flask_aistream import RunEnded  # noqa: E402
from flask_aistream import run_ended  # noqa: E402
from tests.faults.said import token  # noqa: E402
from tests.faults.said import tokens_in  # noqa: E402

PAGES = Path(__file__).parents[1] / "browser"
LEDGER = os.open(os.environ["FACTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

ai = AIStream()


def note(fact: str, run: str, **more: object) -> None:
    line = json.dumps({"fact": fact, "run": run, "pid": os.getpid(), **more})
    os.write(LEDGER, line.encode() + b"\n")  # One write of a short line: nobody's is torn.


def counted(request: ChatRequest, first: int = 0) -> Iterator[str]:
    """``n`` tokens, ``pause`` seconds apart."""
    pause = float(request.params.get("pause", 0))
    for number in range(first, int(request.params["n"])):
        if pause:
            time.sleep(pause)
        yield token(number)


@ai.provider
def count(request: ChatRequest) -> Iterator[str]:
    note("called", request.run)
    yield from counted(request)


@ai.provider(name="goes-on", restart=True)
def goes_on(request: ChatRequest) -> Iterator[str]:
    """The same, and from where it was where its process is lost."""
    if not request.restarts:
        note("called", request.run)
    yield from counted(request, tokens_in(request.so_far) or 0)


@ai.provider(name="raises-before")
def raises_before(request: ChatRequest) -> Iterator[str]:
    note("called", request.run)
    if request.prompt:
        raise RuntimeError("before the first token")
    yield ""


@ai.provider(name="raises-within")
def raises_within(request: ChatRequest) -> Iterator[str]:
    note("called", request.run)
    yield from counted(request)
    raise RuntimeError("in the middle")


@ai.provider(name="raises-finally")
def raises_finally(request: ChatRequest) -> Iterator[str]:
    note("called", request.run)
    try:
        yield from counted(request)
    finally:
        raise RuntimeError("in finally")


@ai.provider
def stubborn(request: ChatRequest) -> Iterator[str]:
    """Does not want to end."""
    note("called", request.run)
    number = 0
    while number < int(request.params["n"]):
        try:
            yield token(number)
            number += 1
            time.sleep(float(request.params["pause"]))
        except BaseException:  # GeneratorExit among them.
            pass


@ai.provider
def blocks(request: ChatRequest) -> Iterator[str]:
    """Says everything, and then waits for what never comes."""
    note("called", request.run)
    yield from counted(request)
    threading.Event().wait()


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.from_prefixed_env("APP")
    app.register_blueprint(ai, url_prefix="/ai")
    run_ended.connect(ended, app)

    @app.get("/page")
    def page() -> Response:
        return send_from_directory(PAGES, "page.html")

    @app.get("/page.js")
    def script() -> Response:
        return send_from_directory(PAGES, "page.js", mimetype="text/javascript")

    @app.get("/aistream.js")
    def client() -> BaseResponse:
        return redirect("/ai/static/aistream.js")

    note("booted", "")
    return app


def ended(sender: Flask, ended: RunEnded) -> None:
    outcome = ended.outcome
    whys = (getattr(outcome, name, None) for name in ("reason", "by", "code", "cause"))
    note(
        "ended",
        ended.run.id,
        outcome=type(outcome).__name__,
        why=next(filter(None, whys)),
        tokens=tokens_in(ended.text),
    )
