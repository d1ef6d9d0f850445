"""The few fixtures that many tests share."""

from __future__ import annotations

import os

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import settings

from flask_aistream import AIStream
from flask_aistream.stores.memory import MemoryStore
from flask_aistream.testing import ManualClock

# A failing example prints the line that repeats it. In CI the seed is fixed, elsewhere it wanders.
settings.register_profile("ci", derandomize=True, print_blob=True, deadline=None)
settings.register_profile("default", print_blob=True, deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> MemoryStore:
    return MemoryStore(clock=clock)


@pytest.fixture
def ai() -> AIStream:
    """A blueprint, registered in ``app`` under ``/ai``."""
    return AIStream()


@pytest.fixture
def app(ai: AIStream) -> Flask:
    app = Flask("tests")
    app.testing = True
    app.config["AISTREAM_COMMIT_SECONDS"] = 10.0  # A busy machine is no slow model.
    app.register_blueprint(ai, url_prefix="/ai")
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()
