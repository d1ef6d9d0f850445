"""Starting a run, and streaming its answer."""

from __future__ import annotations

import json
import typing as t
from collections.abc import AsyncIterator
from collections.abc import Iterator

import pytest
from flask import Flask
from flask import current_app
from flask import g
from flask import has_request_context
from flask import request as flask_request
from flask.testing import FlaskClient

from flask_aistream import AIStream
from flask_aistream import ChatRequest
from flask_aistream import Data
from flask_aistream import Finished
from flask_aistream import Reasoning
from flask_aistream import Usage
from flask_aistream.core.events import RunStarted
from flask_aistream.testing import Gate
from flask_aistream.testing import Script
from flask_aistream.testing import StreamClient
from flask_aistream.web.process import ProcessState
from tests.runs.support import until
from tests.web.conftest import MakeApp


def test_an_answer_streams(ai: AIStream, streams: StreamClient) -> None:
    @ai.provider
    def chat(request: ChatRequest) -> Iterator[t.Any]:
        yield Reasoning("hm")
        yield from request.prompt.split()
        yield Data("mood", {"good": True})
        yield Usage(1, 2)

    answer = streams.read("/ai/chat", json={"prompt": "a b"})
    assert answer.events == [
        RunStarted(answer.run, "chat"),
        Reasoning("hm"),
        "a",
        "b",
        Data("mood", {"good": True}),
        Usage(1, 2),
        Finished(),
    ]
    assert [frame.id for frame in answer.frames] == [f"{answer.run}:{n}" for n in range(7)]


def test_the_first_frames_suit_a_plain_event_source(ai: AIStream, client: FlaskClient) -> None:
    ai.provider(name="chat")(Script("Hel", "lo"))
    response = client.get("/ai/chat?prompt=Hi")
    run = response.headers["AIStream-Run"]
    assert response.data.decode() == (
        "retry: 1000\n"
        f"id: {run}:0\n"
        "event: run\n"
        f'data: {{"run":"{run}","provider":"chat","events":"/ai/runs/{run}/events",'
        f'"stop":"/ai/runs/{run}/stop"}}\n'
        "\n"
        f"id: {run}:1\n"
        'data: {"text":"Hel"}\n'
        "\n"
        f"id: {run}:2\n"
        'data: {"text":"lo"}\n'
        "\n"
        f"id: {run}:3\n"
        'data: {"action":"terminate","reason":"stop"}\n'
        "\n"
    )


def test_the_headers_keep_proxies_and_caches_from_buffering(
    ai: AIStream, client: FlaskClient
) -> None:
    ai.provider(name="chat")(Script("a"))
    response = client.get("/ai/chat?prompt=Hi")
    assert response.content_type == "text/event-stream; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store, no-cache, no-transform"
    assert response.headers["X-Accel-Buffering"] == "no"
    # gunicorn drops it, waitress fails on it.
    assert "Connection" not in response.headers
    assert "Content-Length" not in response.headers
    assert "Content-Encoding" not in response.headers


def test_compression_that_would_buffer_the_stream_is_declined(
    make_app: MakeApp, ai: AIStream
) -> None:
    ai.provider(name="chat")(Script("a"))
    app = make_app()
    app.config["COMPRESS_MIMETYPES"] = ["text/html", "text/event-stream"]
    response = app.test_client().get("/ai/chat?prompt=Hi")
    assert response.headers["Content-Encoding"] == "identity"


USER = {"role": "user", "content": "Hi"}
UI_USER = {"id": "1", "role": "user", "parts": [{"type": "text", "text": "Hi"}]}

REQUESTS: list[t.Any] = [
    pytest.param({"prompt": "Hi"}, "Hi", [USER], {}, id="prompt"),
    pytest.param({"messages": [USER]}, "Hi", [USER], {}, id="messages"),
    pytest.param({"messages": [UI_USER]}, "Hi", None, {}, id="messages of the AI SDK"),
    pytest.param(
        {"messages": [USER], "prompt": "So?"},
        "So?",
        [USER, {"role": "user", "content": "So?"}],
        {},
        id="both",
    ),
    pytest.param(
        {"prompt": "Hi", "model": "m", "temperature": 0.5, "mine": {"a": [1]}},
        "Hi",
        [USER],
        {"model": "m", "temperature": 0.5, "mine": {"a": [1]}},
        id="other fields",
    ),
    pytest.param(
        {"prompt": "Hi", "request_id": "k"}, "Hi", [USER], {}, id="our own fields are no params"
    ),
]


@pytest.mark.parametrize(("body", "prompt", "messages", "params"), REQUESTS)
def test_a_provider_sees_the_parsed_request(
    ai: AIStream,
    streams: StreamClient,
    body: dict[str, t.Any],
    prompt: str,
    messages: t.Any,
    params: dict[str, t.Any],
) -> None:
    script = Script("a")
    ai.provider(name="chat")(script)
    answer = streams.read("/ai/chat", json=body)
    (request,) = script.requests
    assert request.prompt == prompt
    assert messages is None or request.messages == messages
    assert request.params == params
    assert request.body == body
    assert (request.provider, request.run, request.owner) == ("chat", answer.run, None)


def test_a_prompt_may_be_in_the_query(ai: AIStream, streams: StreamClient) -> None:
    script = Script("a")
    ai.provider(name="chat")(script)
    streams.read("/ai/chat?prompt=Hi&model=m")
    assert (script.requests[0].prompt, script.requests[0].params) == ("Hi", {"model": "m"})


def test_a_default_prompt_answers_a_request_without_one(
    ai: AIStream, streams: StreamClient
) -> None:
    script = Script("a")
    ai.provider(name="chat", default_prompt="Introduce yourself.")(script)
    streams.read("/ai/chat")
    assert script.requests[0].prompt == "Introduce yourself."
    assert script.requests[0].messages == [{"role": "user", "content": "Introduce yourself."}]


def test_an_async_provider_streams(ai: AIStream, streams: StreamClient) -> None:
    @ai.provider
    async def chat(request: ChatRequest) -> AsyncIterator[str]:
        yield "a"
        yield current_app.name

    assert streams.read("/ai/chat?prompt=Hi").text == "atests"


# Before the provider has said anything.


def test_the_response_starts_before_a_slow_first_token(make_app: MakeApp, ai: AIStream) -> None:
    gate = Gate()
    ai.provider(name="chat")(Script(gate, "a"))
    with StreamClient(make_app(commit_seconds=0.01)).open("/ai/chat?prompt=Hi") as stream:
        assert next(stream) == RunStarted(stream.run, "chat")
        gate.open()
        assert list(stream) == ["a", Finished()]


def test_heartbeats_fill_the_silence_before_the_first_token(
    make_app: MakeApp, ai: AIStream
) -> None:
    gate = Gate()
    ai.provider(name="chat")(Script(gate, "a"))
    app = make_app(commit_seconds=0.0, heartbeat_seconds=0.01)
    response = app.test_client().get("/ai/chat?prompt=Hi")
    chunks = response.iter_encoded()
    assert next(chunks).startswith(b"retry: 1000\nid: ")
    assert [next(chunks), next(chunks)] == [b": ping\n", b": ping\n"]
    gate.open()
    assert b"terminate" in b"".join(chunks)
    response.close()


# What starts nothing.


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("HEAD", {}, 200),
        ("OPTIONS", {}, 200),
        ("OPTIONS", {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}, 200),
        ("GET", {"Sec-Purpose": "prefetch"}, 204),
        ("GET", {"Sec-Purpose": "prefetch;prerender"}, 204),
        ("GET", {"Purpose": "prefetch"}, 204),
    ],
)
def test_head_prefetch_and_preflight_start_no_run(
    ai: AIStream,
    client: FlaskClient,
    process: ProcessState,
    method: str,
    headers: dict[str, str],
    status: int,
) -> None:
    script = Script("a")
    ai.provider(name="chat", default_prompt="Hi")(script)
    response = client.open("/ai/chat", method=method, headers=headers)
    assert response.status_code == status
    assert response.data == b""
    assert ("Content-Type" in response.headers) is (status != 204)
    assert script.requests == []
    assert process.runner.count == 0


def test_head_has_the_headers_of_get(ai: AIStream, client: FlaskClient) -> None:
    ai.provider(name="chat")(Script("a"))
    head = client.head("/ai/chat?prompt=Hi")
    assert head.content_type == "text/event-stream; charset=utf-8"
    assert head.headers["X-Accel-Buffering"] == "no"


# Contexts.


def test_a_provider_runs_in_a_fresh_application_context(
    ai: AIStream, app: Flask, streams: StreamClient
) -> None:
    seen: dict[str, t.Any] = {}

    @app.before_request
    def mark() -> None:
        g.mark = "request"

    @ai.provider
    def chat(request: ChatRequest) -> Iterator[str]:
        seen.update(app=current_app.name, mark=g.get("mark"), request=has_request_context())
        yield "a"

    streams.read("/ai/chat?prompt=Hi")
    assert seen == {"app": "tests", "mark": None, "request": False}


def test_a_provider_may_run_in_the_request_context(ai: AIStream, streams: StreamClient) -> None:
    @ai.provider(context="request")
    def chat(request: ChatRequest) -> Iterator[str]:
        yield flask_request.headers["X-Tenant"]
        yield flask_request.get_json()["prompt"]

    answer = streams.read("/ai/chat", json={"prompt": "Hi"}, headers={"X-Tenant": "acme:"})
    assert answer.text == "acme:Hi"


@pytest.mark.parametrize("context", ["app", "request"])
def test_the_providers_context_is_torn_down_at_its_end(
    ai: AIStream, app: Flask, streams: StreamClient, context: t.Any
) -> None:
    open_now: set[str] = set()

    @app.teardown_appcontext
    def close(error: BaseException | None) -> None:
        open_now.discard(g.get("connection", ""))

    @ai.provider(context=context)
    def chat(request: ChatRequest) -> Iterator[str]:
        g.connection = request.run
        open_now.add(request.run)
        yield "a"

    streams.read("/ai/chat?prompt=Hi")
    until(lambda: not open_now, "the teardown")


# What becomes of it.


def test_a_run_can_be_read_as_one_json_object(
    ai: AIStream, client: FlaskClient, streams: StreamClient
) -> None:
    ai.provider(name="chat")(Script("Hel", "lo", Usage(1, 2)))
    answer = streams.read("/ai/chat?prompt=Hi")
    shown = client.get(f"/ai/runs/{answer.run}").get_json()
    assert shown.pop("created") > 1_700_000_000
    assert shown == {
        "run": answer.run,
        "provider": "chat",
        "cursor": f"{answer.run}:4",
        "events": f"/ai/runs/{answer.run}/events",
        "stop": f"/ai/runs/{answer.run}/stop",
        "status": "finished",
        "text": "Hello",
        "parts": [{"type": "text", "text": "Hello"}],
        "usage": {"input_tokens": 1, "output_tokens": 2},
        "end": {"reason": "stop"},
    }


def test_the_cursor_of_a_trimmed_run_is_its_last_record(make_app: MakeApp, ai: AIStream) -> None:
    ai.provider(name="chat")(Script(*"abcdefgh"))
    app = make_app(log_events=4)
    answer = StreamClient(app).read("/ai/chat?prompt=Hi")
    shown = app.test_client().get(f"/ai/runs/{answer.run}").get_json()
    assert shown["cursor"] == f"{answer.run}:9" == answer.last_event_id


ODD_VALUES = [
    {1, 2},
    float("nan"),
    {"when": __import__("datetime").date(2026, 1, 2)},
]


@pytest.mark.parametrize("value", ODD_VALUES, ids=lambda value: type(value).__name__)
def test_data_that_is_not_json_breaks_no_route(
    ai: AIStream, client: FlaskClient, streams: StreamClient, value: t.Any
) -> None:
    ai.provider(name="chat")(Script(Data("odd", value), "a"))
    answer = streams.read("/ai/chat?prompt=Hi")
    assert answer.text == "a"
    for response in (
        client.get(f"/ai/runs/{answer.run}"),
        client.post(f"/ai/runs/{answer.run}/stop"),
    ):
        assert response.status_code == 200
        json.loads(response.data, parse_constant=pytest.fail)


def test_health_answers_whether_the_worker_drains(
    ai: AIStream, client: FlaskClient, streams: StreamClient, process: ProcessState
) -> None:
    gate = Gate()
    ai.provider(name="chat")(Script("a", gate))
    with streams.open("/ai/chat?prompt=Hi"):
        assert client.get("/ai/health").get_json() == {"status": "ok"}
        gate.open()
    process.runner.drain()
    draining = client.get("/ai/health")
    assert (draining.status_code, draining.get_json()["status"]) == (503, "draining")
    refused = client.get("/ai/chat?prompt=Hi")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
