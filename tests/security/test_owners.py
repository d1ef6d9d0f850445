"""Nobody reads, stops, deletes, lists, resumes or deduplicates into a run of another owner.

Every route, protocol and store is tried by every kind of stranger, who knows all names of the run: its id, its chat id, its
idempotency key, its cursor and the whole request that started it.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import threading
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask import Flask
from flask import request
from flask.testing import FlaskClient

from flask_aistream import AIStream
from flask_aistream import ChatRequest
from flask_aistream.protocols.table import PROTOCOLS
from flask_aistream.web.extension import install
from tests.server.servers import wait_for
from tests.stores.redis_server import RedisServer

Request = dict[str, t.Any]

RETRIES = "x-stainless-retry-count"
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}

BODIES: dict[str, Request] = {
    "native": {"prompt": "Hi", "chat": "CHAT"},
    "html": {"prompt": "Hi", "chat": "CHAT"},
    "ai-sdk": {"prompt": "Hi", "id": "CHAT"},
    "text": {"prompt": "Hi", "id": "CHAT"},
    "ag-ui": {"messages": [{"role": "user", "content": "Hi"}], "threadId": "CHAT"},
    "openai-chat": {
        "model": "chat",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
    },
    "openai-responses": {"model": "chat", "input": "Hi", "stream": True},
}


class World:
    """Two applications with one store; the first has two ``AIStream`` objects."""

    def __init__(self, url: str) -> None:
        self.released = threading.Event()
        self.waiting = True
        self.app = self.make_app("first", url)
        # Two applications share no memory.
        self.other = self.make_app("second", url)

    def make_app(self, name: str, url: str) -> Flask:
        app = Flask(name)
        app.secret_key = "secret"
        app.config.update(PROPAGATE_EXCEPTIONS=False, AISTREAM_STORE=url)
        app.config.update(AISTREAM_DETACH_SECONDS=None, AISTREAM_COMMIT_SECONDS=10.0)
        app.config.update(AISTREAM_MAX_STARTS_PER_OWNER=None)
        for prefix in ("ai", "two"):
            ai = AIStream(prefix)
            ai.identify(lambda: request.headers.get("X-User"))
            ai.provider(name="chat")(self.chat)
            ai.init_app(app, url_prefix=f"/{prefix}")
        return app

    def chat(self, request: ChatRequest) -> Iterator[str]:
        waits = self.waiting
        yield secret_of(request.run)
        # A provider may repeat what it was given: the conversation, and fields of its client.
        yield from (str(message["content"]) for message in request.messages)
        while waits and not self.released.wait(0.01):
            pass

    def end(self) -> None:
        self.released.set()
        for app in (self.app, self.other):
            runner = install(app).process.runner
            wait_for(lambda runner=runner: not runner.count, "all runs to end")  # type: ignore[misc]
            install(app).process.store.close()


def secret_of(run: str) -> str:
    """What only a reader of the run can know."""
    return f"<{hashlib.sha256(run.encode()).hexdigest()}>"


@dataclass(frozen=True, slots=True)
class Victim:
    """A run, and the names of it that strangers know.

    :param names_only: Its id is a capability of everybody, because it has no owner.
    """

    run: str
    protocol: str
    chat: str
    key: str
    names_only: bool = False

    def body(self) -> Request:
        return {
            name: self.chat if value == "CHAT" else value
            for name, value in BODIES[self.protocol].items()
        }


def start_path(protocol: str) -> str:
    return PROTOCOLS[protocol].path.replace("<provider>", "chat")


@contextlib.contextmanager
def victims(world: World) -> Iterator[list[Victim]]:
    """A live and an ended run of Ann in each protocol, and a live one of an anonymous browser with short names."""
    with contextlib.ExitStack() as opened:
        found = []
        for protocol, live in itertools.product(PROTOCOLS, (True, False)):
            name = f"{protocol}-{'live' if live else 'ended'}-of-ann"
            victim = Victim("", protocol, f"chat-{name}", f"key-{name}")
            headers = {"X-User": "ann", "Idempotency-Key": victim.key}
            if protocol.startswith("openai"):  # Found by its attempts.
                headers = {"X-User": "ann", RETRIES: "0"}
            found.append(start(world, opened, victim, headers, live))
        anonymous = Victim("", "ai-sdk", "chat-1", "key-1", names_only=True)
        headers = {"Idempotency-Key": anonymous.key, **SAME_ORIGIN}
        found.append(start(world, opened, anonymous, headers, live=True))
        world.waiting = False
        yield found
        world.waiting = True


def start(
    world: World,
    opened: contextlib.ExitStack,
    victim: Victim,
    headers: dict[str, str],
    live: bool,
) -> Victim:
    world.waiting = live
    path = "/ai" + start_path(victim.protocol)
    response = world.app.test_client().post(path, json=victim.body(), headers=headers)
    run = response.headers["AIStream-Run"]
    if live:
        opened.callback(response.close)
    else:
        assert secret_of(run) in response.text.replace("&lt;", "<").replace("&gt;", ">")
    return Victim(run, victim.protocol, victim.chat, victim.key, victim.names_only)


Stranger = tuple[str, Callable[[World], FlaskClient], dict[str, str]]


def of_first(world: World) -> FlaskClient:
    return world.app.test_client()


def of_second(world: World) -> FlaskClient:
    return world.other.test_client()


def with_own_cookie(world: World) -> FlaskClient:
    """A browser that has a cookie for a chat of the same short name."""
    client = world.app.test_client()
    asked = {"json": {"prompt": "Hi", "id": "chat-1"}, "headers": SAME_ORIGIN}
    with client.post("/ai/chat/ai-sdk", **asked) as answer:
        assert "aistream_visitor" in answer.headers["Set-Cookie"]
    return client


def with_forged_cookie(world: World) -> FlaskClient:
    client = world.app.test_client()
    client.set_cookie("aistream_visitor", "ImEi.AAAA")
    return client


STRANGERS: list[Stranger] = [
    ("/ai", of_first, {"X-User": "bob"}),
    ("/ai", of_first, {"X-User": "ANN"}),
    ("/ai", of_first, {"X-User": '["owner", "ann"]'}),
    ("/ai", of_first, {}),
    ("/ai", of_first, SAME_ORIGIN),
    ("/ai", with_own_cookie, SAME_ORIGIN),
    ("/ai", with_forged_cookie, {}),
    ("/two", of_first, {"X-User": "ann"}),
    ("/two", of_first, {}),
    ("/ai", of_second, {"X-User": "ann"}),
    ("/ai", of_second, {}),
]


def attempts_by_name(victim: Victim) -> Iterator[tuple[str, str, Request]]:
    """Method, path and request of everything that finds a run by a name that its client chose."""
    chat, keyed = victim.chat, {"headers": {"Idempotency-Key": victim.key}}
    yield "GET", f"/chat/ai-sdk/{chat}/stream", {}
    yield "POST", f"/chat/ai-sdk/{chat}/stop", {}
    yield "GET", f"/chats/{chat}", {}
    yield "DELETE", "/chat", keyed
    yield "GET", "/chat", {"query_string": {"prompt": "Hi", "request_id": victim.key}}
    for protocol in PROTOCOLS:
        body = Victim("", protocol, chat, victim.key).body()
        yield "POST", start_path(protocol), {"json": body, **keyed}
        yield "POST", start_path(protocol), {"json": body, "headers": {RETRIES: "1"}}


def attempts_by_id(victim: Victim) -> Iterator[tuple[str, str, Request]]:
    """The same, by the run's id."""
    run = f"/runs/{victim.run}"
    response = f"/v1/responses/resp_{victim.run}"
    for number in (0, 1):
        cursor = f"{victim.run}:{number}"
        headed = {"headers": {"Last-Event-ID": cursor}}
        asked = {"query_string": {"prompt": "Hi", "last_event_id": cursor}}
        yield "GET", f"{run}/events", headed
        yield "GET", f"{run}/events", asked
        yield "GET", "/chat", headed
        yield "GET", "/chat", asked
        yield "GET", "/chat/html", asked
        yield "POST", "/chat", {"json": {"last_event_id": cursor}}
        for protocol in PROTOCOLS:
            yield "GET", f"{run}/{protocol}", headed
            body = Victim("", protocol, "another-chat-of-mine", "").body()
            yield "POST", start_path(protocol), {"json": body, **headed}
    openai = {"model": "chat", "input": "Hi"}
    messages = [{"id": "m", "role": "user", "content": "Hi"}]
    yield (
        "POST",
        "/v1/responses",
        {"json": {**openai, "previous_response_id": f"resp_{victim.run}"}},
    )
    yield "POST", "/v1/responses", {"json": {**openai, "conversation": victim.chat}}
    yield "POST", "/chat/ag-ui", {"json": {"messages": messages, "parentRunId": victim.run}}
    for name in ("edit", "regenerate"):
        for message in (victim.run, f"msg_{victim.run}"):
            yield "POST", "/chat", {"json": {"prompt": "Hi", "chat": victim.chat, name: message}}
    yield "GET", run, {}
    yield "HEAD", f"{run}/events", {}
    yield "POST", f"{run}/stop", {}
    yield "GET", response, {}
    yield "GET", response, {"query_string": {"stream": "true", "starting_after": "0"}}
    yield "POST", f"{response}/cancel", {}
    yield "DELETE", response, {}


def attempts_of(victim: Victim) -> Iterator[tuple[str, str, Request]]:
    yield from attempts_by_name(victim)
    if not victim.names_only:
        yield from attempts_by_id(victim)


@pytest.fixture(params=["memory", "sqlite", "redis"])
def world(
    request: pytest.FixtureRequest, tmp_path: Path, start_redis: Callable[..., RedisServer]
) -> Iterator[World]:
    urls = {
        "memory": "memory://",
        "sqlite": f"sqlite:///{tmp_path / 'runs.sqlite'}",
    }
    world = World(urls.get(request.param) or start_redis().url)
    yield world
    world.end()


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "every", [pytest.param(41, id="some"), pytest.param(1, id="all", marks=pytest.mark.nightly)]
)
def test_no_stranger_reaches_a_run_of_another_owner(world: World, every: int) -> None:
    with victims(world) as found:
        tries = [
            (victim, stranger, attempt)
            for victim in found
            for stranger in STRANGERS
            for attempt in attempts_of(victim)
        ]
        # Each attempt has another stranger and victim than the one before.
        for victim, stranger, attempt in tries[::every]:
            refuse(world, victim, stranger, *attempt)
        for victim in found:
            unharmed(world, victim)
    print(f"{len(tries[::every])} attempts")


def refuse(
    world: World, victim: Victim, stranger: Stranger, method: str, path: str, asked: Request
) -> None:
    """Try it, and check that the answer has nothing of the run."""
    prefix, client_of, headers = stranger
    asked = {**asked, "headers": {**headers, **asked.get("headers", {})}}
    with client_of(world).open(prefix + path, method=method, **asked) as response:
        where = f"{method} {path} as {stranger}: {response.status}"
        assert response.status_code < 500, where
        assert response.headers.get("AIStream-Run") != victim.run, where
        text = ""
        for part in response.iter_encoded():
            text += part.decode().replace("\\u003c", "<").replace("&lt;", "<")
            assert secret_of(victim.run)[1:-1] not in text, where
        if path.startswith("/chats") or path.endswith("/stop"):
            assert victim.run not in text or response.status_code == 404, where


def unharmed(world: World, victim: Victim) -> None:
    with world.app.app_context():
        log = install(world.app).process.store.open(victim.run)
    ended = log.terminal
    assert (ended is None) == ("live" in victim.chat or victim.names_only), (victim, ended)
