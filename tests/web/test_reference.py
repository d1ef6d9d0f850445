"""An error response and its line in the log have the same short id, in the shape of each protocol."""

from __future__ import annotations

import logging
import re
import typing as t

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_aistream import AIStream
from flask_aistream import ChatRequest
from flask_aistream.protocols.table import PROTOCOLS

SHOWN = {
    "native": r'"reference":"([^"]+)"',
    "ag-ui": r'"reference":"([^"]+)"',
    "openai-chat": r'"reference":"([^"]+)"',
    "openai-responses": r'"reference":"([^"]+)"',
    "html": r'data-reference="([^"]+)"',
    "ai-sdk": r"(?:\(reference: |log has the details under )([\w.-]+?)[.)]",
    "text": r"(?:\(reference: |log has the details under )([\w.-]+?)[.)]",
}
"""Where the body of an error has its reference, by protocol."""


@pytest.fixture(autouse=True)
def providers(ai: AIStream, caplog: pytest.LogCaptureFixture) -> None:
    @ai.provider
    def fails(request: ChatRequest) -> str:
        raise ValueError("secret")

    @ai.authorize
    def check(request: ChatRequest) -> bool:
        if request.params.get("broken"):
            raise KeyError("secret")
        return not request.params.get("refused")

    caplog.set_level(logging.INFO, "flask_aistream")


def ask(client: FlaskClient, name: str, **more: t.Any) -> TestResponse:
    message = {"role": "user", "content": "Hi"}
    bodies: dict[str, dict[str, t.Any]] = {
        "ai-sdk": {
            "messages": [{"id": "1", "role": "user", "parts": [{"type": "text", "text": "Hi"}]}]
        },
        "ag-ui": {"threadId": "t", "runId": "r", "messages": [{"id": "1", **message}]},
        "openai-chat": {"model": "fails", "messages": [message], "stream": True},
        "openai-responses": {"model": "fails", "input": "Hi", "stream": True},
    }
    fields = bodies.get(name, {"prompt": "Hi"})
    headers = more.pop("headers", {})
    return client.post(path_of(name), json={**fields, **more}, headers=headers)


def path_of(name: str) -> str:
    return "/ai" + PROTOCOLS[name].path.replace("<provider>", "fails")


def reference_in(answer: TestResponse, name: str) -> str:
    found = re.search(SHOWN[name], answer.text)
    assert found is not None, answer.text
    assert answer.headers["X-Request-ID"] == found[1]
    return found[1]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_failure_of_a_run_refers_to_the_run(
    client: FlaskClient, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    reference = reference_in(ask(client, name), name)
    assert any(
        it.getMessage() == f"Run {reference} of 'fails': the provider failed"
        for it in caplog.records
    )


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_refusal_refers_to_its_request(
    client: FlaskClient, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    answer = client.post(path_of(name), data=b"{", content_type="application/json")
    reference = reference_in(answer, name)
    assert re.fullmatch(r"[0-9a-f]{8}", reference)
    assert f"Request {reference}: {answer.status_code} " in caplog.text


def test_a_failure_of_the_server_has_its_traceback_under_the_reference(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer = ask(client, "native", broken=True)
    assert answer.status_code == 500
    reference = reference_in(answer, "native")
    (line,) = [it for it in caplog.records if it.exc_info]
    assert line.getMessage() == f"Request {reference}: 'POST /ai/fails' failed"
    assert answer.get_json()["error"]["message"].endswith(f"under {reference}.")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("4bf92f3577b34da6a3ce929d0e0e4736", True),
        ("a.b_c-1", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("", False),
        ("two words", False),
        ("<script>", False),
        ("caf\xe9", False),
    ],
)
def test_the_id_of_a_request_is_kept_if_it_is_harmless(
    client: FlaskClient, given: str, kept: bool
) -> None:
    answer = ask(client, "native", refused=True, headers={"X-Request-ID": given})
    assert answer.status_code == 403
    assert (reference_in(answer, "native") == given) is kept


def test_an_unknown_path_and_a_waiting_event_source_have_a_reference(
    app: Flask, client: FlaskClient
) -> None:
    assert reference_in(client.get("/ai/runs/none/events"), "native")
    assert reference_in(client.get("/ai/no/such/path"), "native")
    app.extensions["aistream"].process.runner.drain()
    waiting = client.get("/ai/fails?prompt=Hi", headers={"Accept": "text/event-stream"})
    assert waiting.status_code == 200
    assert reference_in(waiting, "native")


def test_pages_of_other_origins_may_read_it(client: FlaskClient) -> None:
    answer = ask(client, "native", refused=True, headers={"Origin": "https://pages.example"})
    exposed = answer.headers["Access-Control-Expose-Headers"].lower().split(", ")
    assert exposed.count("x-request-id") == 1
