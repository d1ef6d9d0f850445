"""Clients that must keep working with the default configuration, whatever is refused elsewhere."""

from __future__ import annotations

import typing as t

import pytest
from flask import Flask
from flask_login import (
    LoginManager,  # An extension whose cookies make a request one with credentials.
)

from flask_aistream import AIStream
from flask_aistream.testing import Script
from flask_aistream.testing import StreamClient

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/131.0"
EVENT_SOURCE = {"User-Agent": CHROME, "Accept": "text/event-stream", "Cache-Control": "no-cache"}

CLIENTS: dict[str, tuple[str, dict[str, str]]] = {
    "the tutorial page from a file": (
        "GET",
        {**EVENT_SOURCE, "Origin": "null", "Sec-Fetch-Site": "cross-site"},
    ),
    "the tutorial page from another origin": (
        "GET",
        {**EVENT_SOURCE, "Origin": "http://localhost:3000", "Referer": "http://localhost:3000/"},
    ),
    "EventSource of an own page with cookies": (
        "GET",
        {**EVENT_SOURCE, "Referer": "http://localhost/", "Cookie": "session=1"},
    ),
    "EventSource of an own page without a referrer": (
        "GET",
        {**EVENT_SOURCE, "Cookie": "session=1"},
    ),
    "fetch of an own page with cookies": (
        "POST",
        {
            "User-Agent": CHROME,
            "Accept": "*/*",
            "Origin": "http://localhost",
            "Cookie": "session=1",
        },
    ),
    "useChat on a development server": (
        "POST",
        {"User-Agent": CHROME, "Origin": "http://localhost:5173", "Sec-Fetch-Site": "same-site"},
    ),
    "curl": ("GET", {"User-Agent": "curl/8.9.1", "Accept": "*/*"}),
    "curl -u": (
        "GET",
        {"User-Agent": "curl/8.9.1", "Accept": "*/*", "Authorization": "Basic YW5uOnB3"},
    ),
    "curl -b": ("POST", {"User-Agent": "curl/8.9.1", "Accept": "*/*", "Cookie": "session=1"}),
    "a script with a token": ("POST", {"Authorization": "Bearer token", "Origin": "http://a.test"}),
}


@pytest.fixture
def script(app: Flask, ai: AIStream) -> Script:
    app.secret_key = "secret"
    LoginManager(app).user_loader(lambda name: None)
    script = Script("a", "b", "c")
    ai.provider(name="chat")(script)
    return script


def request_of(method: str, headers: dict[str, str], **more: str) -> dict[str, t.Any]:
    asked: dict[str, t.Any] = {"method": method, "headers": {**headers, **more}}
    return asked | ({"json": {"prompt": "Hi"}} if method == "POST" else {})


@pytest.mark.parametrize(("method", "headers"), CLIENTS.values(), ids=CLIENTS)
def test_a_client_streams_and_resumes_after_every_record(
    app: Flask, script: Script, method: str, headers: dict[str, str]
) -> None:
    streams = StreamClient(app, use_cookies=False)
    first = streams.read("/ai/chat?prompt=Hi", **request_of(method, headers))
    assert first.text == "abc"
    for number, rest in enumerate(["abc", "bc", "c", ""]):
        cursor = {"Last-Event-ID": f"{first.run}:{number}"}
        again = streams.read("/ai/chat?prompt=Hi", **request_of(method, headers, **cursor))
        assert (again.run, again.text) == (first.run, rest)
    cursor = {"Last-Event-ID": first.last_event_id}
    ended = streams.open("/ai/chat?prompt=Hi", **request_of(method, headers, **cursor))
    assert ended.response.status_code == 204
    assert len(script.requests) == 1


def test_two_hundred_visitors_behind_one_public_address_are_served(
    app: Flask, script: Script
) -> None:
    """Each is cut off, and reconnects several times."""
    asked = request_of(*CLIENTS["the tutorial page from another origin"])
    environ = {"REMOTE_ADDR": "8.8.8.8"}
    for number in range(200):
        streams = StreamClient(app)
        first = streams.read("/ai/chat?prompt=Hi", environ_base=environ, **asked)
        assert (first.text, len(script.requests)) == ("abc", number + 1)
        for cursor, rest in enumerate(["abc", "bc", "c"]):
            again = {**asked["headers"], "Last-Event-ID": f"{first.run}:{cursor}"}
            answer = streams.read("/ai/chat?prompt=Hi", environ_base=environ, headers=again)
            assert answer.text == rest
    assert len(script.requests) == 200
