"""The application of the servers under test, with a page on it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from flask import Flask
from flask import Response
from flask import request as http_request
from flask import send_from_directory

from flask_aistream import ChatRequest
from tests.browser.tales import texts_of
from tests.server.app import ai
from tests.server.app import create_app as create_server_app
from tests.server.app import note

HERE = Path(__file__).parent


@ai.identify
def identify() -> str | None:
    return http_request.cookies.get("user")


@ai.provider
def tale(request: ChatRequest) -> Iterator[str]:
    """Tells the tale of a name, ``pause`` seconds before each token and ``think`` before the first."""
    name = request.params["tale"]
    note("called", run=request.run, tale=name)
    pause = float(request.params.get("pause", 0))
    time.sleep(float(request.params.get("think", 0)))
    for text in texts_of(name):
        if pause:
            time.sleep(pause)
        yield text


def create_app() -> Flask:
    app = create_server_app()

    @app.get("/page")
    def page() -> Response:
        return send_from_directory(HERE, "page.html")

    @app.get("/page.js")
    def script() -> Response:
        return send_from_directory(HERE, "page.js", mimetype="text/javascript")

    @app.get("/login/<user>")
    def login(user: str) -> Response:
        response = Response("Welcome.")
        response.set_cookie("user", user)
        return response

    return app
