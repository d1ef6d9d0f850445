"""The recipe of ``docs/howto/conversations.md``, run as it stands."""

from __future__ import annotations

import re
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from flask_aistream import run_ended
from tests.runs.support import until
from tests.web.recipes import PAGES
from tests.web.recipes import client_of
from tests.web.recipes import log_in
from tests.web.recipes import recipe_of

CHAT = "holiday"


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[t.Any]:
    module = recipe_of("conversations", "conversations", tmp_path, monkeypatch)
    yield module
    run_ended.disconnect(module.store)


@pytest.fixture
def client(recipe: t.Any) -> Iterator[FlaskClient]:
    yield from client_of(recipe, "ann")


def ask(client: FlaskClient, **body: t.Any) -> str:
    response = client.post("/ai/chat", json={"chat": CHAT, **body}, buffered=True)
    assert response.status_code == 200, response.text
    return response.headers["AIStream-Run"]


def shown(client: FlaskClient, count: int) -> list[t.Any]:
    until(lambda: len(client.get(f"/conversations/{CHAT}").get_json()) == count, "storing")
    return t.cast("list[t.Any]", client.get(f"/conversations/{CHAT}").get_json())


def test_the_recipe_stores_a_conversation_and_shows_it_again(client: FlaskClient) -> None:
    ask(client, prompt="In summer?")
    second = ask(client, prompt="In winter?")
    first_question, first_answer, *_, last = shown(client, 4)
    assert first_question["content"] == "In summer?"
    assert first_answer["content"].startswith("You have asked 1 messages")
    assert (last["id"], last["content"][-12:]) == (f"msg_{second}", ": In winter?")
    assert "asked 3 messages" in last["content"]
    ask(client, regenerate=True)
    assert [message["role"] for message in shown(client, 4)] == ["user", "assistant"] * 2
    ask(client, edit=first_question["id"], prompt="In spring?")
    assert shown(client, 2)[0]["content"] == "In spring?"
    log_in(client, "bob")
    assert shown(client, 0) == []


def test_a_repeated_delivery_changes_nothing(recipe: t.Any, client: FlaskClient) -> None:
    ended: list[t.Any] = []

    def keep(sender: t.Any, ended: t.Any, kept: list[t.Any] = ended) -> None:
        kept.append(ended)

    with run_ended.connected_to(keep):
        ask(client, prompt="In summer?")
        ask(client, prompt="In winter?")
        before = shown(client, 4)
        until(lambda: len(ended) == 2)
    with client.application.app_context():
        for again in reversed(ended):
            recipe.store(client.application, again)
    assert shown(client, 4) == before


def test_the_two_functions_take_twenty_lines() -> None:
    code = (PAGES / "conversations.md").read_text()
    functions = [
        re.search(rf"^def {name}\(.*?(?=\n\n\n)", code, re.S | re.M)
        for name in ("messages", "store")
    ]
    assert sum(len(found[0].splitlines()) for found in functions if found) <= 20
