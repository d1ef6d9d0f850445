"""Chats: the runs of a conversation, and what a second request does while the first is answered."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask import request
from flask.testing import FlaskClient

from flask_aistream import AccessDenied
from flask_aistream import AIStream
from flask_aistream import ChatRequest
from flask_aistream.core import events as ev
from flask_aistream.errors import RegistrationError
from flask_aistream.testing import Gate
from flask_aistream.testing import StreamClient
from tests.protocols.test_routes import SAID
from tests.runs.support import until
from tests.web.conftest import MakeApp

CHAT = "talk"


@pytest.fixture
def gate(ai: AIStream) -> Gate:
    return Gate()


@pytest.fixture(autouse=True)
def providers(ai: AIStream, gate: Gate) -> None:
    """``say`` answers at once; ``slow`` waits after its first word. The caller is the header ``User``."""

    @ai.identify
    def caller() -> str | None:
        return request.headers.get("User")

    @ai.provider
    def say(asked: ChatRequest) -> Iterator[str]:
        yield f"{asked.prompt}!"

    @ai.provider
    def slow(asked: ChatRequest) -> Iterator[str]:
        yield "Well, "
        gate.pass_through()
        yield "no."


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'store'}"


def ask(app: Flask, path: str = "say", user: str | None = "ann", **body: t.Any) -> t.Any:
    """Send a request, read nothing and leave; the run continues."""
    headers = {"User": user} if user else {}
    body = {"prompt": "Hi", "chat": CHAT, **body}
    response = app.test_client().post(f"/ai/{path}", json=body, headers=headers, buffered=False)
    if response.status_code != 200:
        assert response.text
    response.close()
    return response


def begin(app: Flask, path: str = "say", **body: t.Any) -> str:
    """As :func:`ask`. Returns the id of the run."""
    response = ask(app, path, **body)
    assert response.status_code == 200
    return str(response.headers["AIStream-Run"])


def read(app: Flask, run: str) -> list[ev.Event]:
    """All events of a run after its first one, once it has ended."""
    return StreamClient(app).read(f"/ai/runs/{run}/events", headers={"User": "ann"}).events[1:]


def show(app: Flask, user: str | None = "ann", chat: str = CHAT) -> t.Any:
    return app.test_client().get(f"/ai/chats/{chat}", headers={"User": user} if user else {})


# Listing.


def test_another_device_finds_the_runs_of_a_chat_and_reads_the_live_one(
    make_app: MakeApp, gate: Gate, url: str
) -> None:
    app = make_app(store=url)
    first = begin(app)
    assert read(app, first) == ["Hi!", ev.Finished()]
    live = begin(app, "slow", prompt="Really?")
    body = show(app).get_json()
    assert [(run["run"], run["status"]) for run in body["runs"]] == [
        (first, "finished"),
        (live, "running"),
    ]
    assert (body["live"]["run"], body["live"]["prompt"]) == (live, "Really?")
    gate.open()
    other = StreamClient(app).read(body["live"]["events"], headers={"User": "ann"})
    assert other.events[1:] == ["Well, ", "no.", ev.Finished()]
    assert show(app).get_json()["live"] is None


@pytest.mark.parametrize("user", ["bob", None])
def test_a_stranger_s_chat_does_not_exist(app: Flask, user: str | None) -> None:
    ask(app)
    for chat in (CHAT, "unknown", "x" * 3000, "a/b", "%00", "ä"):
        response = show(app, user, chat)
        assert response.status_code == 404, chat
        assert response.get_json()["error"]["code"] == "chat_not_found"


@pytest.mark.parametrize(("chat", "status"), [("c" * 16, 200), ("c" * 15, 404)])
def test_an_anonymous_chat_is_found_if_nobody_can_guess_it(
    app: Flask, chat: str, status: int
) -> None:
    ask(app, user=None, chat=chat)
    assert show(app, None, chat).status_code == status


def test_the_list_action_is_authorized(app: Flask, ai: AIStream) -> None:
    asked: list[t.Any] = []

    @ai.authorize(actions=("list",))
    def may(action: str, run: object) -> bool:
        asked.append((action, run))
        return False

    ask(app)
    assert show(app).status_code == 403
    assert asked == [("list", None)]


def test_code_lists_the_runs_of_a_chat(app: Flask, ai: AIStream, gate: Gate) -> None:
    with app.app_context():
        done = ai.start("say", "Hi", chat=CHAT, owner=7)
        done.wait(5)
        live = ai.start("slow", {"prompt": "Hi", "chat": CHAT}, owner="7", background=True)
        assert [run.id for run in ai.runs(chat=CHAT, owner="7")] == [done.id, live.id]
        assert [run.id for run in ai.runs(chat=CHAT, owner=7, live=True)] == [live.id]
        assert ai.runs(chat=CHAT) == ai.runs(chat="other", owner=7) == []
        assert live.request.prompt == "Hi"
        live.stop()


def test_an_unknown_policy_is_refused_when_the_provider_is_registered() -> None:
    with pytest.raises(RegistrationError, match="parallel, reject, interrupt"):
        AIStream().provider(name="say", chat_policy="queue")(lambda request: "Hi")


# A second request.


def test_by_default_a_second_request_is_answered_beside_the_first(app: Flask, gate: Gate) -> None:
    first, second = begin(app, "slow"), begin(app)
    assert read(app, second) == ["Hi!", ev.Finished()]
    gate.open()
    assert read(app, first)[-1] == ev.Finished()


CHATS: dict[str, tuple[str, dict[str, t.Any]]] = {
    "native": ("slow", {"chat": CHAT}),
    "html": ("slow/html", {"chat": CHAT}),
    "ai-sdk": ("slow/ai-sdk", {"id": CHAT}),
    "text": ("slow/text", {"id": CHAT}),
    "ag-ui": ("slow/ag-ui", {"threadId": CHAT}),
}


@pytest.mark.parametrize("protocol", CHATS)
def test_a_second_request_is_rejected_in_the_shape_of_its_protocol(
    make_app: MakeApp, gate: Gate, protocol: str
) -> None:
    app = make_app(chat_policy="reject")
    path, fields = CHATS[protocol]
    live = begin(app, "slow")
    response = app.test_client().post(
        f"/ai/{path}", json={**SAID[protocol], **fields}, headers={"User": "ann"}
    )
    assert response.status_code == 409
    assert live in response.text
    if protocol in ("native", "ag-ui"):
        assert response.get_json()["error"]["code"] == "chat_busy"
    assert ask(app, user="bob").status_code == 200  # Of the same name, and another owner.
    gate.open()
    assert read(app, live)[-1] == ev.Finished()
    assert ask(app).status_code == 200


def test_an_interrupted_answer_keeps_its_text(make_app: MakeApp, gate: Gate, url: str) -> None:
    app = make_app(chat_policy="interrupt", store=url)
    first = begin(app, "slow")
    until(lambda: "Well" in shown(app, first)["text"])
    second = begin(app)
    assert read(app, second) == ["Hi!", ev.Finished()]
    kept = shown(app, first)
    assert (kept["text"], kept["end"]) == ("Well, ", {"by": "chat"})


def shown(app: Flask, run: str) -> t.Any:
    return app.test_client().get(f"/ai/runs/{run}", headers={"User": "ann"}).get_json()


def test_a_provider_has_a_policy_of_its_own(app: Flask, ai: AIStream, gate: Gate) -> None:
    @ai.provider(chat_policy="reject")
    def strict(asked: ChatRequest) -> str:
        return "Yes"

    begin(app, "slow")
    assert ask(app, "strict").status_code == 409
    assert ask(app, "say").status_code == 200
    gate.open()


@pytest.mark.parametrize("policy", ["reject", "interrupt"])
def test_a_retry_finds_the_live_run_that_it_started(
    make_app: MakeApp, gate: Gate, policy: str
) -> None:
    app = make_app(chat_policy=policy)
    first, again = (begin(app, "slow", request_id="k") for _ in range(2))
    assert again == first
    gate.open()
    assert read(app, first)[-1] == ev.Finished()


def test_a_refused_request_stops_nothing(make_app: MakeApp, ai: AIStream, gate: Gate) -> None:
    app = make_app(chat_policy="interrupt")

    @ai.authorize
    def may(asked: ChatRequest) -> None:
        if asked.prompt == "No":
            raise AccessDenied

    first = begin(app, "slow")
    assert ask(app, prompt="No").status_code == 403
    gate.open()
    assert read(app, first)[-1] == ev.Finished()


def test_a_chat_with_two_providers_is_one_conversation(app: Flask, gate: Gate) -> None:
    begin(app, "say")
    begin(app, "slow")
    assert [run["provider"] for run in show(app).get_json()["runs"]] == ["say", "slow"]
    gate.open()


def test_a_page_of_another_origin_with_credentials_lists_nothing(client: FlaskClient) -> None:
    client.set_cookie("session", "1")
    response = client.get(f"/ai/chats/{CHAT}", headers={"Origin": "https://evil.test"})
    assert response.status_code == 403
    assert json.loads(response.text)["error"]
