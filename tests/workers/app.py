"""The servers' test application, which also names the process of each answer."""

from __future__ import annotations

import os

from flask import Flask
from flask import Response

from tests.server import app as one_process


def create_app() -> Flask:
    app = one_process.create_app()
    app.add_url_rule("/pid", "pid", lambda: str(os.getpid()))
    app.after_request(sign)
    return app


def sign(response: Response) -> Response:
    response.headers["X-Pid"] = str(os.getpid())
    return response
