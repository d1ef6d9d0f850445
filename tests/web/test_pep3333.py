"""The application is a valid WSGI application: ``wsgiref.validate`` checks each kind of request and response."""

from __future__ import annotations

import typing as t
import warnings
from wsgiref.validate import validator

import pytest
from flask import Flask
from werkzeug.test import EnvironBuilder

from flask_aistream import AIStream
from flask_aistream import ChatRequest
from flask_aistream import ProviderError

UI = {"messages": [{"role": "user", "parts": [{"type": "text", "text": "Hi"}]}]}
CHAT = {"model": "chat", "messages": [{"role": "user", "content": "Hi"}]}
RESPONSE = {"model": "chat", "input": "Hi"}
PREFLIGHT = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}

Call = tuple[str, str, dict[str, t.Any], int]

REQUESTS: dict[str, Call] = {
    "native by GET": ("GET", "/ai/chat?prompt=Hi", {}, 200),
    "native by POST": ("POST", "/ai/chat", {"json": {"prompt": "Hi"}}, 200),
    "AI SDK": ("POST", "/ai/chat/ai-sdk", {"json": UI}, 200),
    "chat completions": (
        "POST",
        "/ai/v1/chat/completions",
        {"json": {**CHAT, "stream": True}},
        200,
    ),
    "chat completions, whole": ("POST", "/ai/v1/chat/completions", {"json": CHAT}, 200),
    "responses": ("POST", "/ai/v1/responses", {"json": {**RESPONSE, "stream": True}}, 200),
    "responses, whole": ("POST", "/ai/v1/responses", {"json": RESPONSE}, 200),
    "responses by a form": ("POST", "/ai/v1/responses", {"data": RESPONSE}, 200),
    "AG-UI": ("POST", "/ai/chat/ag-ui", {"json": {"messages": CHAT["messages"]}}, 200),
    "HTML": ("GET", "/ai/chat/html?prompt=Hi", {}, 200),
    "text": ("POST", "/ai/chat/text", {"json": "Hi"}, 200),
    "an ended run": ("GET", "/ai/runs/RUN/events", {"headers": {"Last-Event-ID": "RUN:2"}}, 204),
    "an ended run from its start": ("GET", "/ai/runs/RUN/events", {}, 200),
    "a run": ("GET", "/ai/runs/RUN", {}, 200),
    "a stop": ("POST", "/ai/runs/RUN/stop", {}, 200),
    "a chat without a run": ("GET", "/ai/chat/ai-sdk/none/stream", {}, 204),
    "a retrieved response": ("GET", "/ai/v1/responses/resp_RUN?stream=true", {}, 200),
    "a deleted response": ("DELETE", "/ai/v1/responses/resp_RUN", {}, 200),
    "models": ("GET", "/ai/v1/models", {}, 200),
    "HEAD": ("HEAD", "/ai/chat", {}, 200),
    "a prefetch": ("GET", "/ai/chat?prompt=Hi", {"headers": {"Sec-Purpose": "prefetch"}}, 204),
    "a preflight": ("OPTIONS", "/ai/chat", {"headers": PREFLIGHT}, 200),
    "an early failure": ("POST", "/ai/fails", {"json": {"prompt": "first"}}, 402),
    "a late failure": ("POST", "/ai/fails", {"json": {"prompt": "later"}}, 200),
    "no JSON": ("POST", "/ai/chat", {"data": b"{"}, 400),
    "an unknown provider": ("GET", "/ai/nobody?prompt=Hi", {}, 404),
    "a wrong method": ("GET", "/ai/v1/responses", {}, 405),
    "an unknown path": ("GET", "/ai/v1/nothing", {}, 404),
    "health": ("GET", "/ai/health", {}, 200),
    "the client": ("GET", "/ai/static/aistream.js", {}, 200),
}


@pytest.fixture
def app() -> Flask:
    ai = AIStream()

    @ai.provider
    def chat(request: ChatRequest) -> str:
        return "Hello"

    @ai.provider
    def fails(request: ChatRequest) -> t.Iterator[str]:
        if request.prompt == "later":
            yield "Half"
        raise ProviderError("no", "Not now.", status=402)

    app = Flask(__name__)
    app.register_blueprint(ai, url_prefix="/ai")
    return app


def answer(app: Flask, method: str, path: str, **sent: t.Any) -> tuple[int, dict[str, str]]:
    """Status and headers of a response that is read to its end, as a server does it."""
    begun: list[tuple[int, dict[str, str]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc: t.Any = None) -> t.Any:
        begun.append((int(status[:3]), dict(headers)))
        return lambda data: None

    environ = EnvironBuilder(method=method, path=path, **sent).get_environ()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        body = validator(app)(environ, start_response)
        try:
            b"".join(body)
        finally:
            t.cast(t.Any, body).close()
    return begun[0]


@pytest.mark.parametrize("name", REQUESTS)
def test_a_response_is_valid_by_pep_3333(app: Flask, name: str) -> None:
    method, path, sent, status = REQUESTS[name]
    run = ""
    if "RUN" in path:
        run = answer(app, "GET", "/ai/chat?prompt=Hi")[1]["AIStream-Run"]
        sent = {key: {n: v.replace("RUN", run) for n, v in it.items()} for key, it in sent.items()}
    assert answer(app, method, path.replace("RUN", run), **sent)[0] == status
