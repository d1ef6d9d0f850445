"""The application under test. Its provider plays the story of ``tests.protocols`` that the prompt names."""

from __future__ import annotations

import time
import typing as t
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from flask import Flask
from flask import Response
from flask import jsonify
from flask import render_template_string
from flask import request as http_request
from flask import send_from_directory

from flask_aistream import AIStream
from flask_aistream import ChatRequest
from flask_aistream import ProviderError
from flask_aistream.core import events as ev
from tests.protocols.stories import STORIES

MODULES = Path(__file__).parent / "node_modules"
PAGES = Path(__file__).parent / "pages"

COMMIT_SECONDS = 0.2

ai = AIStream()


@ai.provider
def tell(request: ChatRequest) -> Iterator[t.Any]:
    """Play a story. ``words-N`` yields N numbered words with pauses; ``refused`` fails at once."""
    name = request.prompt.partition(" ")[0]
    if name == "refused":
        raise ProviderError("refused", "This provider says no.", status=418)
    if name.startswith("words-"):
        for number in range(int(name.removeprefix("words-"))):
            yield f"{number} "
            # Every tenth word is followed by a pause long enough for heartbeats.
            time.sleep(0.1 if number % 10 == 0 else 0.01)
        return
    yield from STORIES[name][1:]


CALLS: Counter[str] = Counter()
"""Calls of ``broken``, by prompt."""


@ai.provider
def broken(request: ChatRequest) -> Iterator[t.Any]:
    """Fail as the first word of the prompt says: what happens, and when."""
    CALLS[request.prompt] += 1
    failure, place = request.prompt.split()[0].split("-")
    if place == "slow":
        time.sleep(2 * COMMIT_SECONDS)
    if place == "thinking":
        yield ev.Reasoning("Hm.")
    if place == "later":
        yield "Half an "
        time.sleep(0.05)
        yield "answer"
    if failure == "interrupted":
        yield ev.Interrupted("owner-lost")
    if failure == "raises":
        raise RuntimeError("this provider is broken")
    raise ProviderError("broken", "This provider is broken.", status=int(failure), retry_after=0.1)


@ai.provider
def echo(request: ChatRequest) -> Iterator[t.Any]:
    """Return the request."""
    yield ev.Data("asked", {"messages": request.messages, "params": request.params})
    yield repr(request.messages)


@ai.provider
def ask(request: ChatRequest) -> Iterator[t.Any]:
    """Call a tool of the page, then repeat its result."""
    last = request.messages[-1]
    if last["role"] == "tool":
        yield f"You said {last['content']}."
    else:
        yield ev.ToolCall("ask1", "confirm", {})
        yield ev.Finished("tool-calls")


@ai.provider
def shop(request: ChatRequest) -> Iterator[t.Any]:
    """Ask for approval, then execute what was approved."""
    for call in request.approved:
        yield ev.ToolResult(call["id"], {"paid": call["arguments"]["euro"]})
        yield "Paid."
    if request.messages[-1]["role"] == "user":
        yield "May I?"
        yield ev.ToolApproval(f"call-{request.run}", "pay", {"euro": 5})
    elif not request.approved:
        yield "Not paid."


@ai.provider(text_only=True)
def blind(request: ChatRequest) -> str:
    return "text"


def create_app() -> Flask:
    app = Flask(__name__)
    app.config["AISTREAM_HEARTBEAT_SECONDS"] = 0.02
    app.config["AISTREAM_COMMIT_SECONDS"] = COMMIT_SECONDS
    app.register_blueprint(ai, url_prefix="/ai")

    @app.get("/calls")
    def calls() -> Response:
        return jsonify(CALLS)

    @app.get("/modules/<path:name>")
    def modules(name: str) -> Response:
        return send_from_directory(MODULES, name)

    @app.get("/pages/<name>")
    def page(name: str) -> str:
        return render_template_string((PAGES / name).read_text("utf-8"), args=http_request.args)

    return app
