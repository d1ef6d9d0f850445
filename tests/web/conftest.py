from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Iterator

import pytest
from flask import Flask

from flask_aistream import AIStream
from flask_aistream import RunEnded
from flask_aistream import run_ended
from flask_aistream.testing import StreamClient
from flask_aistream.web.extension import install
from flask_aistream.web.process import ProcessState
from tests.runs.support import Ends

MakeApp = Callable[..., Flask]


@pytest.fixture
def make_app(ai: AIStream) -> MakeApp:
    """``make_app(heartbeat_seconds=1)``: an application with ``ai`` under ``/ai`` and these settings."""

    def make(**settings: t.Any) -> Flask:
        app = Flask("tests")
        app.testing = True
        app.config["PROPAGATE_EXCEPTIONS"] = False  # As in production.
        app.config.update({f"AISTREAM_{name.upper()}": it for name, it in settings.items()})
        app.register_blueprint(ai, url_prefix="/ai")
        return app

    return make


@pytest.fixture
def streams(app: Flask) -> StreamClient:
    return StreamClient(app)


@pytest.fixture
def process(app: Flask) -> ProcessState:
    return install(app).process


@pytest.fixture
def ends(app: Flask) -> Iterator[Ends]:
    """What ``run_ended`` says."""
    ends = Ends()

    def keep(sender: Flask, ended: RunEnded) -> None:
        ends.run_ended(ended)

    with run_ended.connected_to(keep, app):
        yield ends
