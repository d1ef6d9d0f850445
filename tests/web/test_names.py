"""Chat ids and idempotency keys: who may find a run again by a name that a client chose."""

from __future__ import annotations

import typing as t

import pytest
from flask import Flask
from flask import request
from flask.testing import FlaskClient

from flask_aistream import AIStream
from flask_aistream.testing import Gate
from flask_aistream.testing import Script
from flask_aistream.web.cors import VISITOR_COOKIE as COOKIE

SHORT, LONG = "chat-1", "chat-1-of-nobody-guesses"
OWN_PAGES: list[dict[str, str]] = [
    {"Sec-Fetch-Site": "same-origin"},
    {"Origin": "http://localhost"},
    {"Referer": "http://localhost/page"},
]
FOREIGN_PAGES: list[dict[str, str]] = [
    {},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:5173"},
    {"Origin": "http://localhost:5173"},
    {"Origin": "http://["},
    {"Referer": "http://evil.test/"},
]


@pytest.fixture(autouse=True)
def script(app: Flask, ai: AIStream) -> Script:
    app.secret_key = "secret"
    script = Script("Hi")
    ai.provider(name="chat")(script)
    return script


def start(client: FlaskClient, chat: str, **headers: str) -> t.Any:
    """A ``useChat`` that leaves before the end. ``names_`` of headers have ``-``."""
    body = {"id": chat, "messages": [{"id": "1", "role": "user", "content": "Hi"}]}
    response = client.post(
        "/ai/chat/ai-sdk", json=body, headers=headers, buffered=False, base_url="http://localhost"
    )
    assert response.status_code == 200
    response.close()
    return response


def found(client: FlaskClient, chat: str, **headers: str) -> bool:
    with client.get(f"/ai/chat/ai-sdk/{chat}/stream", headers=headers) as response:
        assert response.status_code in (200, 204)
        return response.status_code == 200


def stopped(client: FlaskClient, chat: str) -> str | None:
    """The run that a stop by chat id found."""
    answer = client.post(f"/ai/chat/ai-sdk/{chat}/stop").get_json()
    return t.cast("str | None", answer["run"])


@pytest.mark.parametrize("headers", [*OWN_PAGES, *FOREIGN_PAGES])
def test_a_visitor_never_finds_another_visitors_short_chat(
    app: Flask, headers: dict[str, str]
) -> None:
    alice, bob = app.test_client(), app.test_client()
    start(alice, SHORT, **headers)
    start(bob, "another", **headers)
    assert not found(bob, SHORT)
    assert stopped(bob, SHORT) is None


@pytest.mark.parametrize("headers", OWN_PAGES)
def test_a_page_of_our_origin_finds_its_short_chat_by_a_signed_cookie(
    client: FlaskClient, headers: dict[str, str]
) -> None:
    cookie = start(client, SHORT, **headers).headers["Set-Cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    assert found(client, SHORT)
    again = start(client, SHORT, **headers)
    assert "Set-Cookie" not in again.headers
    assert stopped(client, SHORT) == again.headers["AIStream-Run"]


@pytest.mark.parametrize("headers", FOREIGN_PAGES)
def test_for_other_pages_a_short_chat_binds_to_nothing(
    client: FlaskClient, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        assert "Set-Cookie" not in start(client, SHORT, **headers).headers
    assert not found(client, SHORT)
    assert caplog.text.count("fewer than 16 characters") == 1


def test_without_a_secret_key_a_short_chat_binds_to_nothing(app: Flask) -> None:
    app.secret_key = None
    client = app.test_client()
    assert "Set-Cookie" not in start(client, SHORT, **OWN_PAGES[0]).headers
    assert not found(client, SHORT)


@pytest.mark.parametrize("cookie", ["forged", "InRva2VuIg.signature", ""])
def test_a_forged_cookie_is_ignored(client: FlaskClient, cookie: str) -> None:
    client.set_cookie(COOKIE, cookie)
    start(client, SHORT)
    assert not found(client, SHORT)


def test_a_long_chat_id_needs_no_cookie(app: Flask) -> None:
    assert "Set-Cookie" not in start(app.test_client(), LONG, **OWN_PAGES[0]).headers
    assert found(app.test_client(), LONG)


def test_our_cookie_is_no_credential(client: FlaskClient) -> None:
    start(client, SHORT, **OWN_PAGES[0])
    assert client.get_cookie(COOKIE)
    cross_site = {"Sec-Fetch-Site": "cross-site", "Origin": "http://a.example"}
    assert start(client, SHORT, **cross_site).status_code == 200


def test_a_short_key_of_anonymous_clients_starts_a_run_each(app: Flask, script: Script) -> None:
    key = {"Idempotency-Key": "1"}
    for _ in range(2):
        assert app.test_client().post("/ai/chat", json={"prompt": "Hi"}, headers=key).text
    assert len(script.requests) == 2
    page = app.test_client()
    for _ in range(2):
        assert page.post("/ai/chat", json={"prompt": "Hi"}, headers=key | OWN_PAGES[0]).text
    assert len(script.requests) == 3


def test_a_client_cannot_use_a_short_key_of_the_applications_code(
    app: Flask, ai: AIStream, client: FlaskClient
) -> None:
    with app.app_context():
        run = ai.start("chat", "Hi", key="order-7", chat=SHORT)
        assert ai.start("chat", "Hi", key="order-7", chat=SHORT).id == run.id
    headers = {"Idempotency-Key": "order-7", **OWN_PAGES[0]}
    started = client.post("/ai/chat", json={"prompt": "Hi"}, headers=headers)
    assert started.headers["AIStream-Run"] != run.id
    assert not found(client, SHORT)


AMBIGUOUS = [(("a", "b\0x"), ("a\0b", "x")), (("a", '"], "x'), ('a"], "', "x"))]


@pytest.mark.parametrize(("one", "other"), AMBIGUOUS)
def test_no_two_pairs_of_owner_and_chat_are_the_same_name(
    app: Flask, ai: AIStream, one: tuple[str, str], other: tuple[str, str]
) -> None:
    callers = iter([one[0], other[0]])
    ai.identify(lambda: next(callers))
    gate = Gate()

    @ai.provider
    def slow(request: t.Any) -> t.Any:
        yield "a"
        gate.pass_through()

    client = app.test_client()
    chats = []
    for _, chat in (one, other):
        body = {"id": chat, "messages": [{"id": "1", "role": "user", "content": "Hi"}]}
        response = client.post("/ai/slow/ai-sdk", json=body, buffered=False)
        with app.app_context():
            chats.append(ai.attach(response.headers["AIStream-Run"]).run.chat)
        response.close()
    gate.open()
    assert len(set(chats)) == 2


def test_owners_and_names_belong_to_one_aistream_of_one_application(tmp_path: t.Any) -> None:
    store = f"sqlite:///{tmp_path}/runs.sqlite"
    started: list[str] = []
    clients: list[tuple[FlaskClient, str]] = []
    apps = []
    for name in ("one", "other"):
        app = Flask(name)
        app.config["AISTREAM_STORE"] = store
        for blueprint in ("first", "second"):
            ai = AIStream(blueprint)
            ai.identify(lambda: request.headers.get("X-User"))
            ai.provider(name=f"chat-{blueprint}")(Script("Hi"))
            ai.init_app(app, url_prefix=f"/{blueprint}")
            clients.append((app.test_client(), blueprint))
        apps.append(app)
    headers = {"X-User": "7", "Idempotency-Key": "k"}
    for client, blueprint in clients:
        path = f"/{blueprint}/chat-{blueprint}"
        answer = client.post(path, json={"prompt": "Hi"}, headers=headers)
        started.append(answer.headers["AIStream-Run"])
        assert answer.text
    assert len(set(started)) == 4
    for number, (client, blueprint) in enumerate(clients):
        seen = [
            client.get(f"/{blueprint}/runs/{run}", headers={"X-User": "7"}).status_code
            for run in started
        ]
        assert seen == [200 if number == other else 404 for other in range(4)]
    for app in apps:
        app.extensions["aistream"].process.store.close()
