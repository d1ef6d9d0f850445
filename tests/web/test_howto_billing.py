"""The application of ``docs/howto/billing.md``, run as it stands."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from flask_aistream import run_ended
from flask_aistream.testing import Gate
from flask_aistream.testing import Script
from flask_aistream.testing import StreamClient
from tests.runs.support import until
from tests.web.recipes import client_of
from tests.web.recipes import recipe_of


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[t.Any]:
    module = recipe_of("billing", "charges", tmp_path, monkeypatch)
    yield module
    run_ended.disconnect(module.charge)


@pytest.fixture
def client(recipe: t.Any) -> Iterator[FlaskClient]:
    yield from client_of(recipe, "ann")


def charges(recipe: t.Any, client: FlaskClient, count: int) -> list[t.Any]:
    def read() -> list[t.Any]:
        with client.application.app_context():
            return t.cast("list[t.Any]", recipe.Charge.query.order_by("outcome").all())

    until(lambda: len(read()) == count, "the charges")
    return read()


def test_a_finished_and_a_stopped_run_are_charged_once(recipe: t.Any, client: FlaskClient) -> None:
    gate = Gate()
    recipe.ai.provider(name="slow")(Script("a" * 40, gate))
    ends: list[t.Any] = []

    def keep(sender: t.Any, ended: t.Any) -> None:
        ends.append(ended)

    with run_ended.connected_to(keep):
        client.post("/ai/chat", json={"prompt": "Hello"}, buffered=True)
        streams = StreamClient(client.application)
        with streams.client.session_transaction() as session:
            session["user"] = "ann"
        with streams.open("/ai/slow", json={"prompt": "Hello"}) as stream:
            assert [next(stream), next(stream)][1] == "a" * 40
            client.post(f"/ai/runs/{stream.run}/stop")
        finished, stopped = charges(recipe, client, 2)
        until(lambda: len(ends) == 2)
    assert (finished.cost, finished.estimated) == (round(12 * 0.15 + 40 * 0.6), False)
    assert (stopped.outcome, stopped.output_tokens, stopped.estimated) == ("stopped", 10, True)
    with client.application.app_context():
        for again in ends:
            recipe.charge(client.application, again)
    assert len(charges(recipe, client, 2)) == 2


def test_a_user_without_budget_is_refused(recipe: t.Any, client: FlaskClient) -> None:
    recipe.BUDGET = 1
    client.post("/ai/chat", json={"prompt": "Hello"}, buffered=True)
    charges(recipe, client, 1)
    assert client.post("/ai/chat", json={"prompt": "Hello"}).status_code == 403
    assert (
        client.application.test_client().post("/ai/chat", json={"prompt": "Hi"}).status_code == 401
    )
