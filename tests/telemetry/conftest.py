from __future__ import annotations

import threading
import typing as t
from collections.abc import Iterator

import pytest
from flask import Flask

from flask_aistream import AIStream
from flask_aistream import ChatRequest
from flask_aistream import ProviderError
from flask_aistream import Usage
from flask_aistream.testing import StreamClient
from flask_aistream.web.signals import run_ended


@pytest.fixture
def app() -> Iterator[Flask]:
    before = dict(run_ended.receivers)
    yield make_app()
    for receiver in run_ended.receivers.keys() - before.keys():
        del run_ended.receivers[receiver]


def make_app(**config: t.Any) -> Flask:
    app = Flask("shop")
    app.config |= config
    ai = AIStream()

    @ai.provider
    def chat(_: ChatRequest) -> t.Iterator[t.Any]:
        yield "One"
        yield "two"
        yield Usage(input_tokens=3, output_tokens=2)

    @ai.provider
    def fails(_: ChatRequest) -> t.Iterator[t.Any]:
        yield "One"
        raise ProviderError("model_away", "The model is away.")

    @ai.provider
    def endless(_: ChatRequest) -> t.Iterator[t.Any]:
        yield from ("One", "two", "three")
        threading.Event().wait(30)

    ai.init_app(app, url_prefix="/ai")
    return app


def ask(app: Flask, provider: str, *, stop: bool = False, **request: t.Any) -> str:
    """Start a run, read it to its end, and return its id once the end is delivered."""
    with StreamClient(app).open(f"/ai/{provider}", json={"prompt": "Hi"}, **request) as stream:
        for event in stream:
            if stop and event == "One":
                app.test_client().post(f"/ai/runs/{stream.run}/stop")
    app.extensions["aistream"].process.runner.interrupt_all("test", 5)
    return stream.run
