"""Owners, authorization and connection limits."""

from __future__ import annotations

import typing as t

import pytest
from flask import Flask
from flask import abort
from flask import request
from flask.testing import FlaskClient
from flask_login import FlaskLoginClient
from flask_login import LoginManager
from flask_login import UserMixin
from werkzeug.test import TestResponse

from flask_aistream import AccessDenied
from flask_aistream import AIStream
from flask_aistream import ChatRequest
from flask_aistream.testing import Gate
from flask_aistream.testing import Script
from flask_aistream.testing import Stream
from flask_aistream.testing import StreamClient
from flask_aistream.web.reference import HEADER as REFERENCE
from tests.runs.support import Ends
from tests.web.conftest import MakeApp

ROUTES: list[t.Any] = [
    ("GET", "/ai/runs/{run}", {}),
    ("HEAD", "/ai/runs/{run}", {}),
    ("GET", "/ai/runs/{run}/events", {}),
    ("HEAD", "/ai/runs/{run}/events", {}),
    ("GET", "/ai/runs/{run}/events?last_event_id={run}:0", {}),
    ("POST", "/ai/runs/{run}/stop", {}),
    ("GET", "/ai/chat?last_event_id={run}:0", {}),
    ("GET", "/ai/chat?prompt=Hi", {"headers": {"Last-Event-ID": "{run}:0"}}),
    ("POST", "/ai/chat", {"json": {"prompt": "Hi", "last_event_id": "{run}:0"}}),
    ("GET", "/ai/runs/{run}/text", {}),
    ("GET", "/ai/runs/{run}/ai-sdk", {}),
    ("GET", "/ai/v1/responses/resp_{run}", {}),
    ("GET", "/ai/v1/responses/resp_{run}?stream=true", {}),
    ("POST", "/ai/v1/responses/resp_{run}/cancel", {}),
]


@pytest.fixture
def hers(ai: AIStream, streams: StreamClient) -> t.Iterator[Stream]:
    """A run of Ann's, who is named by a header, still going on."""
    ai.identify(lambda: request.headers.get("X-User"))
    gate = Gate()
    ai.provider(name="chat")(Script("secret", gate))
    with streams.open("/ai/chat?prompt=Hi", headers={"X-User": "ann"}) as stream:
        next(stream)
        yield stream
        gate.open()


def ask(client: FlaskClient, route: t.Any, run: str, user: str | None) -> TestResponse:
    method, path, more = route
    headers = {"X-User": user} if user else {}
    given = {name: value.format(run=run) for name, value in more.get("headers", {}).items()}
    body = {name: value.format(run=run) for name, value in more.get("json", {}).items()} or None
    return client.open(path.format(run=run), method=method, headers={**headers, **given}, json=body)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route[0]} {route[1]}")
@pytest.mark.parametrize("user", ["bob", None])
def test_a_run_is_404_for_every_other_owner(
    client: FlaskClient, hers: Stream, route: t.Any, user: str | None, ends: Ends
) -> None:
    theirs = ask(client, route, hers.run, user)
    unknown = ask(client, route, "unknown", user)
    assert theirs.status_code == unknown.status_code == 404
    # Not even whether there is such a run can be told from the answers.
    assert text_of(theirs).replace(hers.run, "unknown") == text_of(unknown)
    assert ends.received == []


def text_of(error: TestResponse) -> str:
    """All of an error but its reference, which differs with each request."""
    return error.text.replace(error.headers[REFERENCE], "")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route[0]} {route[1]}")
def test_the_owner_may_use_every_route_of_a_run(
    client: FlaskClient, hers: Stream, route: t.Any
) -> None:
    response = ask(client, route, hers.run, "ann")
    assert response.status_code == 200
    response.close()


def test_a_run_without_an_owner_is_open_to_every_caller_with_its_id(
    ai: AIStream, client: FlaskClient, streams: StreamClient
) -> None:
    ai.identify(lambda: request.headers.get("X-User"))
    ai.provider(name="chat")(Script("a"))
    answer = streams.read("/ai/chat?prompt=Hi")
    assert client.get(f"/ai/runs/{answer.run}", headers={"X-User": "bob"}).status_code == 200


def test_a_provider_sees_the_owner(ai: AIStream, streams: StreamClient) -> None:
    script = Script("a")
    ai.provider(name="chat")(script)
    ai.identify(lambda: "ann")
    streams.read("/ai/chat?prompt=Hi")
    assert script.requests[0].owner == "ann"


def test_an_identify_that_returns_no_string_is_a_server_error(
    ai: AIStream, client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    ai.provider(name="chat")(Script("a"))
    ai.identify(lambda: 7.5)  # type: ignore[type-var]
    assert client.get("/ai/chat?prompt=Hi").status_code == 500
    assert "must be a str, an int or a UUID" in caplog.text


def denies(request: ChatRequest) -> bool:
    return False


def denies_in_its_words(request: ChatRequest) -> None:
    raise AccessDenied("Log in first.", status=401)


def aborts(request: ChatRequest) -> None:
    abort(429)


@pytest.mark.parametrize(
    ("check", "status", "code"),
    [
        (denies, 403, "access_denied"),
        (denies_in_its_words, 401, "access_denied"),
        (aborts, 429, "too_many_requests"),
    ],
)
def test_a_refused_caller_starts_no_run(
    ai: AIStream, client: FlaskClient, check: t.Any, status: int, code: str
) -> None:
    script = Script("a")
    ai.provider(name="chat")(script)
    ai.authorize(check)
    response = client.post("/ai/chat", json={"prompt": "Hi"})
    assert response.status_code == status
    assert response.get_json()["error"]["code"] == code
    assert script.requests == []


@pytest.mark.parametrize("allows", ["no", "", 0, 1])
def test_an_authorize_that_returns_no_bool_is_a_server_error(
    ai: AIStream, client: FlaskClient, caplog: pytest.LogCaptureFixture, allows: t.Any
) -> None:
    script = Script("a")
    ai.provider(name="chat")(script)
    ai.authorize(lambda request: allows)
    assert client.post("/ai/chat", json={"prompt": "Hi"}).status_code == 500
    assert "must return True, False or None" in caplog.text
    assert script.requests == []


@pytest.mark.parametrize("allows", [True, None])
def test_authorize_sees_the_whole_request(
    ai: AIStream, streams: StreamClient, allows: bool | None
) -> None:
    seen: list[ChatRequest] = []

    @ai.authorize
    def check(request: ChatRequest) -> bool | None:
        seen.append(request)
        return allows

    ai.identify(lambda: "ann")
    ai.provider(name="chat")(Script("a"))
    assert streams.read("/ai/chat", json={"prompt": "Hi", "model": "m"}).text == "a"
    assert (seen[0].owner, seen[0].provider, seen[0].params) == ("ann", "chat", {"model": "m"})


def test_resuming_does_not_call_authorize(ai: AIStream, streams: StreamClient) -> None:
    ai.provider(name="chat")(Script("a"))
    answer = streams.read("/ai/chat?prompt=Hi")
    ai.authorize(denies)
    again = streams.read("/ai/chat", headers={"Last-Event-ID": f"{answer.run}:0"})
    assert again.text == "a"


def test_a_retried_start_calls_authorize(ai: AIStream, streams: StreamClient) -> None:
    ai.provider(name="chat")(Script("a"))
    key = {"Idempotency-Key": "k"}
    streams.read("/ai/chat?prompt=Hi", headers=key)
    ai.authorize(denies)
    assert streams.open("/ai/chat?prompt=Hi", headers=key).response.status_code == 403


@pytest.mark.parametrize(
    ("limit", "status", "others"),
    [({"max_connections": 1}, 503, 503), ({"max_connections_per_owner": 1}, 429, 200)],
    ids=["of the process", "of an owner"],
)
def test_over_the_connection_limit_no_stream_opens_and_no_run_starts(
    ai: AIStream, make_app: MakeApp, limit: dict[str, int], status: int, others: int
) -> None:
    gate = Gate()
    script = Script("a", gate)
    ai.provider(name="chat")(script)
    ai.identify(lambda: request.headers.get("X-User"))
    app = make_app(**limit)
    ann, bob = {"X-User": "ann"}, {"X-User": "bob"}
    with StreamClient(app).open("/ai/chat?prompt=Hi", headers=ann) as stream:
        next(stream)
        client = app.test_client()
        assert client.get("/ai/chat?prompt=Hi", headers=ann).status_code == status
        again = client.get(f"/ai/runs/{stream.run}/events", headers=ann)
        assert again.status_code == status
        code = "unavailable" if status == 503 else "too_many_connections"
        assert again.get_json()["error"]["code"] == code
        assert len(script.requests) == 1
        gate.open()
        with client.get("/ai/chat?prompt=Hi", headers=bob) as response:
            assert response.status_code == others
    with app.test_client().get(f"/ai/runs/{stream.run}/events", headers=ann) as after:
        assert after.status_code == 200


class User(UserMixin):
    def __init__(self, id: str) -> None:
        self.id = id


def test_without_identify_the_owner_is_flask_logins_user(ai: AIStream, app: Flask) -> None:
    script = Script("a")
    ai.provider(name="chat")(script)
    app.secret_key = "secret"
    app.test_client_class = FlaskLoginClient
    LoginManager(app).user_loader(User)
    ann, bob = app.test_client(user=User("ann")), app.test_client(user=User("bob"))
    for client in (ann, app.test_client()):
        assert client.post("/ai/chat", json={"prompt": "Hi"}).status_code == 200
    assert [request.owner for request in script.requests] == ["ann", None]
    hers = script.requests[0].run
    assert ann.get(f"/ai/runs/{hers}").status_code == 200
    assert bob.get(f"/ai/runs/{hers}").status_code == 404
