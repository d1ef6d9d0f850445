"""Whole requests to every route, random in every part: never a server error, never a run that stays."""

from __future__ import annotations

import io
import json
import logging
import typing as t
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from flask import Flask
from flask import request
from hypothesis import strategies as st

from flask_aistream import AIStream
from flask_aistream.testing import Gate
from flask_aistream.testing import Script
from flask_aistream.web.extension import install
from tests.security import values
from tests.security.examples import tried
from tests.server.servers import wait_for

METHODS = st.sampled_from(["GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "TRACE", "BREW"])


@pytest.fixture(scope="module")
def app() -> Iterator[Flask]:
    app = Flask("requests")
    app.secret_key = "secret"
    app.config.update(
        PROPAGATE_EXCEPTIONS=False, AISTREAM_MAX_BODY_BYTES=2000, AISTREAM_OPENAPI=True
    )
    ai = AIStream()
    ai.identify(lambda: request.headers.get("X-User"))
    ai.provider(name="chat", default_prompt="Hi")(Script("a", "b"))
    ai.init_app(app, url_prefix="/ai")
    yield app
    wait_for(lambda: install(app).process.runner.count == 0, "all runs to end")
    assert len(install(app).process.registry) == 0


SEGMENTS = st.one_of(
    st.sampled_from(["chat", "ai-sdk", "..", ".", "%", "static", "a-chat-nobody-guesses"]),
    st.text(max_size=8),
    st.text(st.sampled_from("/\\\0\r\n%;?#"), max_size=3),
)
RULES = [
    "/ai/{}",
    "/ai/chat/{}",
    "/ai/chat/ai-sdk/{}/stream",
    "/ai/chat/ai-sdk/{}/stop",
    "/ai/runs/{}",
    "/ai/runs/{}/events",
    "/ai/runs/{}/ai-sdk",
    "/ai/runs/{}/stop",
    "/ai/v1/{}",
    "/ai/v1/chat/completions",
    "/ai/v1/responses",
    "/ai/v1/responses/{}",
    "/ai/v1/responses/resp_{}/cancel",
    "/ai/v1/models/{}",
    "/ai/static/{}",
    "/ai/static/aistream/{}",
    "/{}",
]
PATHS = st.builds(
    lambda rule, segment: rule.format(quote(segment, safe="/")), st.sampled_from(RULES), SEGMENTS
)
DATA = st.one_of(
    values.BODIES.map(lambda body: json.dumps(body).encode()),
    st.binary(max_size=40),
    st.just(b"x" * 3000),
)


@tried(1 / 4, METHODS, PATHS, values.QUERY_STRINGS, values.HEADERS, DATA)
def test_no_request_is_a_server_error(
    app: Flask,
    method: str,
    path: str,
    query: str,
    headers: dict[str, str],
    data: bytes,
) -> None:
    asked: t.Any = {"method": method, "query_string": query, "headers": headers, "data": data}
    with Errors() as logged, app.test_client().open(path, **asked) as response:
        assert response.status_code < 500, response.data
        assert method != "HEAD" or response.data == b""
    assert logged.records == []


class Errors(logging.Handler):
    """Records of the level ERROR that are logged within a ``with`` block."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def __enter__(self) -> Errors:
        logging.getLogger().addHandler(self)
        return self

    def __exit__(self, *_: t.Any) -> None:
        logging.getLogger().removeHandler(self)


@pytest.mark.parametrize(
    "path",
    [
        "/ai/chat",
        "/ai/runs/{run}/events",
        "/ai/runs/{run}/ai-sdk",
        "/ai/chat/ai-sdk/a-chat-nobody-guesses/stream",
        "/ai/v1/responses/resp_{run}?stream=true",
    ],
)
def test_a_head_request_opens_no_stream(path: str) -> None:
    gate = Gate()
    app, ai = Flask("head"), AIStream()
    ai.provider(name="chat")(Script("a", gate))
    ai.init_app(app, url_prefix="/ai")
    client, process = app.test_client(), install(app).process
    asked = {"prompt": "Hi", "id": "a-chat-nobody-guesses"}
    with client.post("/ai/chat/ai-sdk", json=asked) as live:
        run = live.headers["AIStream-Run"]
        head = client.head(path.format(run=run))
        assert (head.status_code, len(process.registry)) == (200, 1)
        assert head.content_type.startswith("text/event-stream")
        gate.open()


SCRIPT = "<script>alert(1)</script>"

REFLECTED = [
    ("GET", f"/ai/{SCRIPT}", {}),
    ("POST", f"/ai/{SCRIPT}/ai-sdk", {"json": {"prompt": "Hi"}}),
    ("GET", f"/ai/runs/{SCRIPT}", {}),
    ("GET", f"/ai/chats/{SCRIPT}", {}),
    ("GET", "/ai/chat/html", {"query_string": {"prompt": "Hi", "last_event_id": SCRIPT}}),
    ("POST", "/ai/chat/text", {"json": {"messages": [{"role": SCRIPT}]}}),
    ("POST", "/ai/chat/ai-sdk", {"json": {"prompt": "Hi"}, "query_string": {"version": SCRIPT}}),
    ("POST", "/ai/v1/responses", {"json": {"model": SCRIPT, "input": "Hi"}}),
]
"""Requests whose refusal may quote them."""


@pytest.mark.parametrize(("method", "path", "asked"), REFLECTED)
def test_no_browser_takes_a_refusal_for_a_script(
    app: Flask, method: str, path: str, asked: dict[str, t.Any]
) -> None:
    response = app.test_client().open(path, method=method, **asked)
    assert 400 <= response.status_code < 500
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.mimetype != "text/html" or "<script" not in response.text


FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize("size", [1999, 2000, 2001, 5000])
@pytest.mark.parametrize(
    ("path", "kind"), [("/ai/chat", "application/json"), ("/ai/chat/html", FORM)]
)
def test_a_body_without_a_length_is_never_cut_at_the_limit(
    app: Flask, path: str, kind: str, size: int
) -> None:
    begin, end = ("prompt=", "") if kind == FORM else ('{"prompt": "', '"}')
    body = begin + "x" * (size - len(begin + end)) + end
    chunked = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    with app.test_client().post(
        path,
        input_stream=io.BytesIO(body.encode()),
        content_type=kind,
        environ_overrides=chunked,
        buffered=True,
    ) as response:
        assert response.status_code == (200 if size <= 2000 else 413)


@pytest.mark.parametrize("path", ["/ai/chat/html", "/ai/v1/responses"])
def test_a_form_of_too_many_fields_is_refused_before_it_is_parsed(app: Flask, path: str) -> None:
    response = app.test_client().post(path, data="&" * 1000, content_type=FORM)
    assert response.status_code == 413
    assert "1000 fields" in response.text
