"""Limits that are on by default: what clients may start, how long names and bodies may be, how long a run may take."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Iterator

import pytest
from flask import Flask
from flask import Response
from flask import request as flask_request
from flask.testing import FlaskClient
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import TestResponse

from flask_aistream import AIStream
from flask_aistream import ChatRequest
from flask_aistream.core.events import Failed
from flask_aistream.core.events import Finished
from flask_aistream.errors import RegistrationError
from flask_aistream.testing import Gate
from flask_aistream.testing import Script
from flask_aistream.testing import StreamClient
from flask_aistream.web.address import public_network
from tests.web.conftest import MakeApp

USER = "X-User"
PUBLIC = {"REMOTE_ADDR": "8.8.8.8"}
OTHER = {"REMOTE_ADDR": "9.9.9.9"}
EVENT_SOURCE = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Closed, until the test opens it."""
    gate = Gate()
    yield gate
    gate.open()


@pytest.fixture
def script(ai: AIStream, gate: Gate) -> Script:
    """The provider ``chat``, which says one word and then waits."""
    ai.identify(lambda: flask_request.headers.get(USER))
    script = Script("a", gate, "b")
    ai.provider(name="chat")(script)
    return script


class Client:
    """Starts runs, which go on when it disconnects."""

    def __init__(self, app: Flask) -> None:
        self.app = app

    def start(self, user: str | None = None, **request: t.Any) -> TestResponse:
        request.setdefault("json", {"prompt": "Hi"})
        headers = {**request.pop("headers", {}), **({USER: user} if user else {})}
        response = self.app.test_client().post("/ai/chat", headers=headers, **request)
        response.close()
        return response


def refusal_of(response: TestResponse) -> tuple[int, str]:
    """Status and code; the message says how much is allowed, and what to do."""
    error = response.get_json()["error"]
    assert int(response.headers["Retry-After"]) >= 1
    assert error["message"].endswith(".")
    return response.status_code, error["code"]


LIMITS: list[t.Any] = [
    pytest.param({"max_anonymous_runs": 2}, {}, (429, "too_many_runs"), id="anonymous runs"),
    pytest.param(
        {"max_runs_per_owner": 2}, {"user": "ann"}, (429, "too_many_runs"), id="runs of an owner"
    ),
    pytest.param(
        {"max_runs_per_address": 2},
        {"environ_base": PUBLIC},
        (429, "too_many_runs"),
        id="runs of an address",
    ),
    pytest.param(
        {"max_starts_per_owner": 2},
        {"user": "ann"},
        (429, "too_many_starts"),
        id="starts of an owner",
    ),
    pytest.param(
        {"max_starts_per_address": 2},
        {"environ_base": PUBLIC},
        (429, "too_many_starts"),
        id="starts of an address",
    ),
]


@pytest.mark.parametrize(("settings", "request_of", "refusal"), LIMITS)
def test_starts_beyond_a_limit_are_refused(
    make_app: MakeApp,
    script: Script,
    settings: dict[str, t.Any],
    request_of: dict[str, t.Any],
    refusal: tuple[int, str],
) -> None:
    client = Client(make_app(**settings))
    assert [client.start(**request_of).status_code for _ in range(2)] == [200, 200]
    refused = client.start(**request_of)
    assert refusal_of(refused) == refusal
    assert "2" in refused.get_json()["error"]["message"]
    assert len(script.requests) == 2


@pytest.mark.parametrize(("settings", "request_of", "refusal"), LIMITS)
def test_a_limit_that_is_none_limits_nothing(
    make_app: MakeApp,
    script: Script,
    settings: dict[str, t.Any],
    request_of: dict[str, t.Any],
    refusal: t.Any,
) -> None:
    client = Client(make_app(**dict.fromkeys(settings)))
    assert [client.start(**request_of).status_code for _ in range(5)] == [200] * 5


def test_the_bytes_of_the_requests_of_live_runs_are_limited(
    make_app: MakeApp, script: Script
) -> None:
    client = Client(make_app(live_request_bytes=100_000))

    def start(size: int, user: str | None = None, **more: t.Any) -> TestResponse:
        return client.start(user, json={"prompt": "x" * size}, **more)

    chunked: dict[str, t.Any] = {
        "environ_overrides": {"wsgi.input_terminated": True, "CONTENT_LENGTH": None}
    }
    started = start(40_000, **chunked)
    assert start(40_000).status_code == 200
    assert refusal_of(start(40_000, "ann")) == (429, "too_many_runs")
    assert start(1).status_code == 200
    client.app.test_client().post(f"/ai/runs/{started.headers['AIStream-Run']}/stop")
    assert start(40_000).status_code == 200


def test_background_runs_have_a_ceiling_of_their_own(
    app: Flask, ai: AIStream, make_app: MakeApp, gate: Gate
) -> None:
    ai.provider(name="chat")(Script("a", gate))
    client = make_app(max_background_runs=2).test_client()
    background = {"model": "chat", "input": "Hi", "background": True}
    statuses = [client.post("/ai/v1/responses", json=background).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    with client.post("/ai/chat", json={"prompt": "Hi"}) as response:
        assert response.status_code == 200


def test_an_ended_run_frees_its_place(make_app: MakeApp, script: Script) -> None:
    client = Client(make_app(max_anonymous_runs=1, max_runs_per_address=1))
    for _ in range(3):
        started = client.start(environ_base=PUBLIC)
        assert started.status_code == 200
        assert client.start(environ_base=PUBLIC).status_code == 429
        run = started.headers["AIStream-Run"]
        assert client.app.test_client().post(f"/ai/runs/{run}/stop").status_code == 200


def test_limits_of_anonymous_clients_leave_owners_alone(make_app: MakeApp, script: Script) -> None:
    client = Client(make_app(max_anonymous_runs=1, max_runs_per_address=1))
    client.start(environ_base=PUBLIC)
    for user in ("ann", "bob", "ann"):
        assert client.start(user, environ_base=PUBLIC).status_code == 200


def test_one_owner_or_address_does_not_use_up_the_starts_of_another(
    make_app: MakeApp, script: Script
) -> None:
    client = Client(make_app(max_starts_per_owner=1, max_starts_per_address=1))
    assert [client.start(user).status_code for user in ("ann", "ann", "bob")] == [200, 429, 200]
    addresses = (PUBLIC, PUBLIC, OTHER)
    statuses = [client.start(environ_base=address).status_code for address in addresses]
    assert statuses == [200, 429, 200]


def test_reconnections_and_retries_are_not_counted_as_starts(
    make_app: MakeApp, script: Script
) -> None:
    client = Client(make_app(max_starts_per_owner=1, max_runs_per_owner=1))
    key = {"Idempotency-Key": "0123456789abcdef"}
    run = client.start("ann", headers=key).headers["AIStream-Run"]
    for headers in (key, {"Last-Event-ID": f"{run}:0"}):
        for _ in range(5):
            again = client.start("ann", headers=headers)
            assert (again.status_code, again.headers["AIStream-Run"]) == (200, run)
    assert client.start("ann").status_code == 429
    assert len(script.requests) == 1


ADDRESSES = {
    "8.8.8.8": "8.8.8.8",
    "::ffff:8.8.8.8": "8.8.8.8",
    "2001:4860:4860:1:2:3:4:5": "2001:4860:4860:1::/64",
    "127.0.0.1": None,
    "::1": None,
    "::ffff:127.0.0.1": None,
    "10.1.2.3": None,
    "192.168.0.7": None,
    "100.64.0.1": None,
    "169.254.1.1": None,
    "fe80::1%eth0": None,
    "fd00::1": None,
    "": None,
    "unix:": None,
    "8.8.8.8, 1.2.3.4": None,
}


@pytest.mark.parametrize(("address", "network"), ADDRESSES.items())
def test_only_a_public_address_tells_clients_apart(address: str, network: str | None) -> None:
    assert public_network(address) == network


@pytest.mark.parametrize(
    ("fixed", "address", "named"),
    [(False, "127.0.0.1", 1), (True, "127.0.0.1", 0), (False, "8.8.8.8", 0)],
)
def test_a_proxy_that_hides_the_addresses_of_clients_is_logged_once(
    make_app: MakeApp,
    script: Script,
    caplog: pytest.LogCaptureFixture,
    fixed: bool,
    address: str,
    named: int,
) -> None:
    app = make_app(max_starts_per_address=2)
    if fixed:
        app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    client = Client(app)
    forwarded = {"X-Forwarded-For": "9.9.9.9"}
    asked: dict[str, t.Any] = {"headers": forwarded, "environ_base": {"REMOTE_ADDR": address}}
    statuses = [client.start(**asked).status_code for _ in range(3)]
    assert statuses == ([200] * 3 if named else [200, 200, 429])
    assert caplog.text.count("ProxyFix(app.wsgi_app)") == named


def test_a_view_that_starts_runs_has_the_limits_of_clients(
    make_app: MakeApp, ai: AIStream, script: Script
) -> None:
    app = make_app(max_starts_per_owner=1, max_anonymous_runs=1)

    @app.post("/ask")
    def ask() -> Response:
        return ai.start("chat", "Hi", owner=flask_request.headers.get(USER)).response()

    client = app.test_client()
    for status in (200, 429):
        with client.post("/ask", headers={USER: "ann"}) as response:
            assert response.status_code == status
    with app.app_context():  # A script or a task.
        for _ in range(3):
            ai.start("chat", "Hi", owner="ann", background=True)
            ai.start("chat", "Hi", background=True)


# A native EventSource is finished for good by any status but 200.


@pytest.mark.parametrize(
    "settings",
    [
        {"max_runs": 1},
        {"max_anonymous_runs": 1},
        {"max_starts_per_address": 1},
        {"max_connections": 1},
    ],
    ids=lambda settings: next(iter(settings)),
)
@pytest.mark.parametrize("path", ["/ai/chat?prompt=Hi", "/ask"])
def test_an_event_source_beyond_a_limit_is_asked_to_come_back(
    make_app: MakeApp,
    ai: AIStream,
    script: Script,
    gate: Gate,
    settings: dict[str, int],
    path: str,
) -> None:
    app = make_app(**settings)
    app.add_url_rule("/ask", "ask", lambda: ai.start("chat", "Hi").response())
    streams = StreamClient(app)
    asked: dict[str, t.Any] = {"headers": EVENT_SOURCE, "environ_base": PUBLIC}
    first = streams.open(path, **asked)
    refused = app.test_client().get(path, **asked)
    assert (refused.status_code, refused.mimetype) == (200, "text/event-stream")
    assert "no-store" in refused.headers["Cache-Control"]
    retry, event, data, *end = refused.text.split("\n")
    assert int(retry.removeprefix("retry: ")) >= 1000
    assert event == "event: waiting"
    assert set(json.loads(data.removeprefix("data: "))) == {
        *("code", "message", "retry_after", "reference")
    }
    assert end == ["", ""]
    assert "id:" not in refused.text  # It keeps its cursor.
    gate.open()
    list(first)
    first.close()


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", EVENT_SOURCE),
        ("GET", {"Accept": "*/*"}),
        ("GET", {}),
        ("GET", {**EVENT_SOURCE, "Idempotency-Key": "0123456789abcdef"}),
        ("GET", {"Accept": "text/event-stream, application/json"}),  # aistream.js on a resume.
    ],
)
def test_other_clients_beyond_a_limit_get_the_status(
    make_app: MakeApp, script: Script, method: str, headers: dict[str, str]
) -> None:
    client = Client(make_app(max_anonymous_runs=1))
    client.start()
    response = client.app.test_client().open(
        "/ai/chat?prompt=Hi", method=method, headers=headers, json={"prompt": "Hi"}
    )
    assert refusal_of(response) == (429, "too_many_runs")


# Names.

LONG = "x" * 257
LONGEST = "x" * 255


def message(id: str) -> dict[str, t.Any]:
    return {"id": id, "role": "assistant", "parts": [{"type": "text", "text": "a"}]}


NAMES: dict[str, t.Any] = {
    "chat id": ("/ai/chat/ai-sdk", lambda name: {"id": name, "prompt": "Hi"}),
    "message id": ("/ai/chat/ai-sdk", lambda name: {"messages": [message(name)]}),
    "thread": ("/ai/chat/ag-ui", lambda name: {"threadId": name, "messages": []}),
    "run": ("/ai/chat/ag-ui", lambda name: {"runId": name, "messages": []}),
    "native parameter": ("/ai/chat", lambda name: {"prompt": "Hi", name: 1}),
    "OpenAI parameter": (
        "/ai/v1/responses",
        lambda name: {"model": "chat", "input": "Hi", name: 1},
    ),
    "owner": ("/ai/chat", lambda name: {"prompt": "Hi"}),
}


@pytest.mark.parametrize("what", NAMES)
@pytest.mark.parametrize(("name", "accepted"), [(LONGEST, True), (LONG, False)])
def test_the_length_of_every_name_is_limited(
    client: FlaskClient, ai: AIStream, what: str, name: str, *, accepted: bool
) -> None:
    script = Script("a")
    ai.provider(name="chat", default_prompt="Hi")(script)
    if what == "owner":
        ai.identify(lambda: name)
    path, body_of = NAMES[what]
    response = client.post(path, json=body_of(name))
    assert response.status_code == (200 if accepted else 422)
    assert len(script.requests) == int(accepted)
    if not accepted:
        assert "at most 25" in response.text


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_an_owner_that_no_store_can_keep_is_refused(
    make_app: MakeApp, ai: AIStream, tmp_path: t.Any, store: str
) -> None:
    ai.provider(name="chat")(Script("a"))
    ai.identify(lambda: "\ud800")
    url = f"sqlite:///{tmp_path}/runs.sqlite" if store == "sqlite" else "memory://"
    response = make_app(store=url).test_client().post("/ai/chat", json={"prompt": "Hi"})
    assert response.status_code == 422
    assert response.get_json()["error"]["code"] == "owner_invalid"


def tool_request(id: str = "c", name: str = "search") -> dict[str, t.Any]:
    """A conversation with a tool call and its result."""
    part = {"type": f"tool-{name}", "toolCallId": id, "state": "output-available", "output": 1}
    return {
        "messages": [
            {"id": "1", "role": "user", "parts": [{"type": "text", "text": "Hi"}]},
            {"id": "2", "role": "assistant", "parts": [part]},
        ]
    }


@pytest.mark.parametrize(
    ("body", "accepted"),
    [
        (tool_request(name=LONGEST), True),
        (tool_request(name=LONG), False),
        (tool_request(id="c" * 64 * 256), True),
        (tool_request(id="c" * (64 * 256 + 1)), False),
    ],
    ids=["name", "long name", "id", "long id"],
)
def test_the_names_and_ids_of_tool_calls_are_limited(
    client: FlaskClient, ai: AIStream, body: dict[str, t.Any], *, accepted: bool
) -> None:
    ai.provider(name="chat", default_prompt="Hi")(Script("a"))
    response = client.post("/ai/chat/ai-sdk", json=body)
    assert response.status_code == (200 if accepted else 422)


@pytest.mark.parametrize(
    "body",
    [
        {"id": "\ud800", "prompt": "x"},
        {"id": "a-chat-nobody-guesses\udfff", "prompt": "x"},
        {"prompt": "x", "\ud800": 1},
        {"messages": [{"id": "\ud800", "role": "user", "content": "x"}]},
        tool_request(id="\ud800"),
        tool_request(name="\ud800"),
    ],
    ids=["chat", "long chat", "parameter", "message", "tool call", "tool"],
)
def test_a_name_that_is_not_unicode_is_refused(
    client: FlaskClient, ai: AIStream, body: dict[str, t.Any]
) -> None:
    ai.provider(name="chat")(Script("a"))
    response = client.post("/ai/chat/ai-sdk", json=body)
    assert response.status_code == 422
    assert "surrogate" in response.text


# Protocols.

ROUTES: dict[str, list[tuple[str, str]]] = {
    "native": [("GET", "/ai/chat?prompt=Hi"), ("POST", "/ai/chat"), ("GET", "/ai/runs/x/events")],
    "ai-sdk": [
        ("POST", "/ai/chat/ai-sdk"),
        ("GET", "/ai/chat/ai-sdk/0123456789abcdef/stream"),
        ("POST", "/ai/chat/ai-sdk/0123456789abcdef/stop"),
        ("GET", "/ai/runs/x/ai-sdk"),
    ],
    "openai-chat": [("POST", "/ai/v1/chat/completions"), ("GET", "/ai/v1/models")],
    "openai-responses": [
        ("POST", "/ai/v1/responses"),
        ("GET", "/ai/v1/responses/resp_x"),
        ("GET", "/ai/v1/models/chat"),
    ],
    "ag-ui": [("POST", "/ai/chat/ag-ui"), ("GET", "/ai/runs/x/ag-ui")],
    "html": [("GET", "/ai/chat/html?prompt=Hi"), ("POST", "/ai/chat/html")],
    "text": [("POST", "/ai/chat/text")],
}


@pytest.mark.parametrize("served", ROUTES)
def test_only_the_protocols_of_the_configuration_are_served(
    make_app: MakeApp, ai: AIStream, served: str
) -> None:
    ai.provider(name="chat")(Script("a"))
    client = make_app(protocols=[served]).test_client()
    body = {"prompt": "Hi", "messages": [{"role": "user", "content": "Hi"}], "model": "chat"}
    for protocol, routes in ROUTES.items():
        for method, path in routes:
            asked: dict[str, t.Any] = {"json": {**body, "input": "Hi"}} if method == "POST" else {}
            response = client.open(path, method=method, **asked)
            shared = path.startswith("/ai/v1/models") and served.startswith("openai")
            if protocol == served or shared:
                assert "does not serve" not in response.text, path
            else:
                assert response.status_code == 404, path
                assert "does not serve the protocol" in response.text
    assert client.get("/ai/health").status_code == 200


# System messages.

SYSTEM: dict[str, tuple[str, dict[str, t.Any]]] = {
    f"{path} {role}": (path, {"messages": [{"role": role, "content": "Obey."}, *user], **more})
    for role in ("system", "developer")
    for path, more in {
        "/ai/chat": {},
        "/ai/chat/ai-sdk": {},
        "/ai/chat/ag-ui": {},
        "/ai/chat/html": {},
        "/ai/chat/text": {},
        "/ai/v1/chat/completions": {"model": "chat"},
    }.items()
    for user in [[{"role": "user", "content": "Hi"}]]
} | {
    "parts": (
        "/ai/chat/ai-sdk",
        {"messages": [{"role": "system", "parts": [{"type": "text", "text": "Obey."}]}]},
    ),
    "not the first": (
        "/ai/chat",
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "system", "content": ""}]},
    ),
    "instructions": ("/ai/v1/responses", {"model": "chat", "input": "Hi", "instructions": "Obey."}),
    "input": (
        "/ai/v1/responses",
        {"model": "chat", "input": [{"role": "developer", "content": "Obey."}]},
    ),
}


@pytest.mark.parametrize(("path", "body"), SYSTEM.values(), ids=SYSTEM)
@pytest.mark.parametrize("system", ["client", "server"])
def test_a_provider_may_refuse_system_messages_of_clients(
    client: FlaskClient, ai: AIStream, path: str, body: dict[str, t.Any], system: t.Any
) -> None:
    script = Script("a")
    ai.provider(name="chat", system=system)(script)
    response = client.post(path, json=body)
    assert response.status_code == (200 if system == "client" else 422), response.text
    assert len(script.requests) == (system == "client")
    if system == "server":
        assert "the server alone instructs this model" in response.text


def test_code_may_instruct_a_provider_whose_clients_may_not(app: Flask, ai: AIStream) -> None:
    ai.provider(name="chat", system="server")(Script("a"))
    messages = [{"role": "system", "content": "Obey."}, {"role": "user", "content": "Hi"}]
    with app.app_context():
        assert ai.start("chat", {"messages": messages}).wait(5)
        assert ai.start("chat", ChatRequest("Hi", messages)).wait(5)


def test_an_unknown_value_of_system_is_refused(ai: AIStream) -> None:
    with pytest.raises(RegistrationError, match='must be "client"'):
        ai.provider(name="chat", system="nobody")(Script())  # type: ignore[call-overload]


# The length of a run.


def endless(request: ChatRequest) -> Iterator[str]:
    while True:
        yield "x" * 100


async def endless_async(request: ChatRequest) -> t.AsyncIterator[str]:
    while True:
        yield "x" * 100


@pytest.mark.parametrize(
    ("provider", "settings", "store"),
    [
        (endless, {"run_tokens": 100}, "memory"),
        (endless_async, {"run_tokens": 100}, "memory"),
        (endless, {"run_tokens": 100}, "sqlite"),
        (endless, {"run_bytes": 100_000}, "memory"),
        (endless_async, {"run_bytes": 100_000, "log_bytes": None}, "memory"),
    ],
)
def test_an_endless_run_is_finished_as_too_long(
    make_app: MakeApp,
    ai: AIStream,
    tmp_path: t.Any,
    caplog: pytest.LogCaptureFixture,
    provider: t.Any,
    settings: dict[str, int],
    store: str,
) -> None:
    ai.provider(name="chat")(provider)
    url = f"sqlite:///{tmp_path}/runs.sqlite" if store == "sqlite" else "memory://"
    answer = StreamClient(make_app(**settings, store=url)).read("/ai/chat?prompt=Hi")
    assert answer.outcome == Finished("length")
    size = len(answer.text)
    assert 10_000 <= size < 13_000 if "run_tokens" in settings else 100_000 <= size < 150_000
    assert "AISTREAM_RUN_TOKENS" in caplog.text


def test_a_provider_that_does_not_begin_fails_its_run(
    make_app: MakeApp, ai: AIStream, gate: Gate
) -> None:
    ai.provider(name="chat")(Script(gate, "a"))
    app = make_app(first_event_seconds=0.2, commit_seconds=0)
    outcome = StreamClient(app).read("/ai/chat?prompt=Hi").outcome
    assert isinstance(outcome, Failed)
    assert outcome.code == "first_event_timeout"
    assert "did not begin to answer within 0.2 seconds" in outcome.message


def test_a_provider_that_has_begun_has_the_time_of_any_silence(
    make_app: MakeApp, ai: AIStream, gate: Gate
) -> None:
    ai.provider(name="chat")(Script("a", gate))
    app = make_app(first_event_seconds=0.05, idle_seconds=0.3)
    outcome = StreamClient(app).read("/ai/chat?prompt=Hi").outcome
    assert isinstance(outcome, Failed)
    assert outcome.code == "idle_timeout"


@pytest.mark.parametrize("own", [0.3, None])
def test_a_providers_own_idle_limit_is_that_of_its_first_event(
    make_app: MakeApp, ai: AIStream, gate: Gate, own: float | None
) -> None:
    ai.provider(name="chat", idle_seconds=own)(Script(gate, "a"))
    app = make_app(first_event_seconds=0.01, run_seconds=0.6, commit_seconds=0)
    outcome = StreamClient(app).read("/ai/chat?prompt=Hi").outcome
    assert isinstance(outcome, Failed)
    assert outcome.code == ("first_event_timeout" if own else "run_timeout")
