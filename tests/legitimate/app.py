"""The service of the tutorial page, which counts the calls of its provider in a file."""

from __future__ import annotations

import time
from collections.abc import Iterator

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_aistream import AIStream
from flask_aistream import ChatRequest
from tests.server.app import note

WORDS = [f"{number} " for number in range(60)]

PAUSE_SECONDS = 0.05

ai = AIStream()


@ai.provider(default_prompt="Tell me about server-sent events.")
def stream(request: ChatRequest) -> Iterator[str]:
    note("called", run=request.run)
    for word in WORDS:
        time.sleep(PAUSE_SECONDS)
        yield word


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.from_prefixed_env("APP")
    # nginx, and one proxy of the visitors' network before it.
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=2)  # type: ignore[method-assign]
    ai.init_app(app)
    return app
