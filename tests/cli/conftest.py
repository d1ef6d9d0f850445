from __future__ import annotations

import threading
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask
from werkzeug.serving import make_server

from flask_aistream import AIStream
from flask_aistream import ChatRequest
from flask_aistream import ProviderError
from flask_aistream import Reasoning
from flask_aistream import Usage
from flask_aistream.cli.group import group

Run = Callable[..., Result]


def make_app(**config: t.Any) -> Flask:
    """An application with three providers; ``slow`` waits in the middle for ``app.config["GATE"]``."""
    app = Flask("shop")
    app.config |= config
    gate = app.config["GATE"] = threading.Event()
    ai = AIStream()

    @ai.provider
    def chat(request: ChatRequest) -> t.Iterator[t.Any]:
        yield Reasoning("Hm.")
        yield f"You said {request.prompt}"
        yield Usage(output_tokens=7)

    @ai.provider
    def broken(_: ChatRequest) -> t.Iterator[str]:
        yield "Half"
        raise ProviderError("model_away", "The model is away.")

    @ai.provider
    def slow(_: ChatRequest) -> t.Iterator[str]:
        yield "One, "
        assert gate.wait(10)
        yield "two."

    ai.init_app(app, url_prefix="/ai")
    return app


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/runs.sqlite"


@pytest.fixture
def app(store: str) -> Flask:
    return make_app(AISTREAM_STORE=store)


@pytest.fixture
def run(app: Flask) -> Run:
    """Run ``flask aistream …``."""
    runner = app.test_cli_runner()
    return lambda *words, **options: runner.invoke(group, words, **options)


@pytest.fixture
def url(app: Flask) -> Iterator[str]:
    """The blueprint's URL on a server of this process."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}/ai"
    server.shutdown()
    thread.join()
    server.server_close()
