"""Conversations of people who are logged in, as the page's requests see them."""

from __future__ import annotations

import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from example_app import create_app
from example_app.conversations.database import db
from example_app.models.base import Model
from flask_aistream import ChatRequest
from flask_aistream import SourceUrl
from tests.example.serving import environ_in
from tests.server.servers import wait_for

CHAT = "holiday"


def model() -> Model:
    """Answers at once, but for "Wait", which it answers for ever."""

    def answer(request: ChatRequest) -> Iterator[t.Any]:
        yield SourceUrl("1", "https://example.org/")
        yield f"{len(request.messages)} messages"
        while request.prompt == "Wait":
            time.sleep(0.01)
            yield "."

    return Model("m", "A model", answer)


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    monkeypatch.setattr("example_app.choose", lambda environ: [model()])
    app = create_app({**environ_in(tmp_path), "SECRET_KEY": "x"})
    yield app
    with app.app_context():
        db.engine.dispose()


def logged_in(app: Flask, name: str) -> FlaskClient:
    client = app.test_client()
    assert client.post("/login", json={"name": name}).status_code == 204
    return client


@pytest.fixture
def ann(app: Flask) -> FlaskClient:
    return logged_in(app, "ann")


def ask(client: FlaskClient, text: str = "", id: str = "", **body: t.Any) -> str:
    if text:
        body["messages"] = [{"role": "user", "content": text, "id": id}]
    response = client.post("/ai/chat", json={"chat": CHAT, **body}, buffered=True)
    assert response.status_code == 200, response.text
    return response.headers["AIStream-Run"]


def turns(client: FlaskClient, count: int) -> list[t.Any]:
    def stored() -> list[t.Any]:
        return t.cast("list[t.Any]", client.get(f"/conversations/{CHAT}").get_json()["turns"])

    wait_for(lambda: len(stored()) == count, f"{count} turns")
    return stored()


def test_a_conversation_is_listed_and_shown_again(ann: FlaskClient) -> None:
    run = ask(ann, "What is a cursor?", "q1")
    question, answer = turns(ann, 2)
    assert (question["id"], question["content"]) == ("q1", "What is a cursor?")
    assert (answer["id"], answer["ending"]) == (f"msg_{run}", "finished")
    assert answer["content"] == "1 messages"
    assert answer["sources"][0]["url"] == "https://example.org/"
    assert ann.get("/conversations").get_json() == [{"id": CHAT, "title": "What is a cursor?"}]


def test_a_question_is_edited_and_its_answer_regenerated(ann: FlaskClient) -> None:
    ask(ann, "What is a cursor?", "q1")
    ask(ann, "What is a run?", "q2")
    before = turns(ann, 4)
    ask(ann, regenerate=True)
    wait_for(lambda: turns(ann, 4)[-1]["id"] != before[-1]["id"], "another answer")
    ask(ann, "What is a store?", "q3", edit="q1")
    assert [turn["id"] for turn in turns(ann, 2)][:1] == ["q3"]


def test_a_conversation_is_renamed_and_deleted(ann: FlaskClient) -> None:
    ask(ann, "What is a cursor?", "q1")
    assert ann.patch(f"/conversations/{CHAT}", json={"title": "Cursors"}).status_code == 204
    assert ann.get("/conversations").get_json()[0]["title"] == "Cursors"
    assert ann.delete(f"/conversations/{CHAT}").status_code == 204
    assert ann.get("/conversations").get_json() == []
    assert ann.get(f"/conversations/{CHAT}").status_code == 404


def test_another_device_sees_the_question_and_the_live_run(app: Flask, ann: FlaskClient) -> None:
    body = {"chat": CHAT, "messages": [{"role": "user", "content": "Wait", "id": "q"}]}
    with ann.post("/ai/chat", json=body, buffered=False) as live:
        shown = logged_in(app, "ann").get(f"/conversations/{CHAT}").get_json()
        assert [turn["content"] for turn in shown["turns"]] == ["Wait"]
        assert shown["live"] == live.headers["AIStream-Run"]
    assert ann.delete(f"/conversations/{CHAT}").status_code == 204
    wait_for(lambda: not runs(ann), "the run to be stopped")
    assert ann.get("/conversations").get_json() == []


def runs(client: FlaskClient) -> t.Any:
    return client.get(f"/ai/chats/{CHAT}").get_json()["live"]


def test_a_stranger_sees_nothing(app: Flask, ann: FlaskClient) -> None:
    ask(ann, "What is a cursor?", "q1")
    bob = logged_in(app, "bob")
    assert bob.get("/conversations").get_json() == []
    for method in ("get", "patch", "delete"):
        response = getattr(bob, method)(f"/conversations/{CHAT}", json={"title": "x"})
        assert response.status_code == 404
    assert app.test_client().get("/conversations").status_code == 401
    ann.post("/logout", json={})
    assert ann.get("/conversations").status_code == 401


@pytest.mark.parametrize("name", ["", " ", "x" * 41, 7, None])
def test_a_name_is_a_short_text(app: Flask, name: t.Any) -> None:
    assert app.test_client().post("/login", json={"name": name}).status_code == 422
    assert app.test_client().post("/login", data={"name": "ann"}).status_code == 415
