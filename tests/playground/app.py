"""The application of the page's tests: debug mode, a store for two workers, and answers of known text."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from flask import Flask
from flask import Response

from flask_aistream import AIStream
from flask_aistream import ChatRequest
from flask_aistream import Usage

TOKENS = 40
SAID = "".join(f"{number} " for number in range(TOKENS))
PAUSE = 0.02
GATE = 10


def count(request: ChatRequest) -> Iterator[str | Usage]:
    """Counts. A prompt that is a path is a gate: in the middle the provider waits until there is such a file."""
    for number in range(TOKENS):
        time.sleep(PAUSE)
        while number == GATE and "/" in request.prompt and not os.path.exists(request.prompt):
            time.sleep(PAUSE)
        yield f"{number} "
    yield Usage(output_tokens=TOKENS)


def endless(request: ChatRequest) -> Iterator[str]:
    while True:
        time.sleep(PAUSE)
        yield "more "


def sign(response: Response) -> Response:
    response.headers["X-Pid"] = str(os.getpid())
    return response


def create_app() -> Flask:
    app = Flask(__name__)
    app.debug = True
    app.config["AISTREAM_STORE"] = os.environ["STORE"]
    app.config["AISTREAM_RETRY_SECONDS"] = 0.05
    app.config["AISTREAM_HEARTBEAT_SECONDS"] = 0.2
    ai = AIStream()
    ai.provider(count)
    ai.provider(endless)
    ai.init_app(app, url_prefix="/ai")
    app.after_request(sign)
    return app
