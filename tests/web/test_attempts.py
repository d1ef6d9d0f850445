"""A client that counts its attempts gets the run of its first attempt on a retry."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_aistream import AIStream
from flask_aistream import ChatRequest
from flask_aistream import ProviderError
from flask_aistream.testing import Gate
from flask_aistream.web import attempts
from flask_aistream.web.extension import install

HELLO = [{"role": "user", "content": "Hi"}]
CHAT = "/ai/v1/chat/completions"
RESPONSES = "/ai/v1/responses"
ANN = {"Authorization": "Bearer sk-ann-0123456789abcdef"}
BOB = {"Authorization": "Bearer sk-bob-0123456789abcdef"}


class Counting:
    """An application that counts the calls of its provider."""

    def __init__(self, **config: t.Any) -> None:
        self.calls: list[str] = []
        self.gate = Gate()
        ai = AIStream()

        @ai.provider
        def chat(request: ChatRequest) -> Iterator[t.Any]:
            self.calls.append(request.run)
            if request.prompt == "fail":
                raise ProviderError("no", "Not now.", status=429)
            yield "Hello"
            if request.prompt == "wait":
                self.gate.pass_through()

        self.app = Flask(__name__)
        self.app.config.update(config)
        self.app.register_blueprint(ai, url_prefix="/ai")
        self.client: FlaskClient = self.app.test_client()

    def ask(self, retries: int | None, path: str = CHAT, **more: t.Any) -> t.Any:
        headers, buffered = more.pop("headers", ANN), more.pop("buffered", True)
        if retries is not None:
            headers = {**headers, "x-stainless-retry-count": str(retries)}
        asked = {"messages": HELLO} if path == CHAT else {"input": "Hi"}
        sent = {"model": "chat", **asked, **more}
        return self.client.post(path, json=sent, headers=headers, buffered=buffered)


@pytest.fixture
def counting() -> Counting:
    return Counting()


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("content", ["Hi", "fail"])
def test_a_retry_finds_the_run_of_the_first_attempt(
    counting: Counting, path: str, stream: bool, content: str
) -> None:
    asked = {"messages": [{"role": "user", "content": content}], "input": content, "stream": stream}
    first, *again = [counting.ask(retries, path, **asked) for retries in (0, 1, 2)]
    assert [(it.status_code, it.text) for it in again] == [(first.status_code, first.text)] * 2
    assert len(counting.calls) == 1


NEW_RUNS = [
    pytest.param((0, {}), (0, {}), id="two first attempts"),
    pytest.param((None, {}), (1, {}), id="an attempt without a number"),
    pytest.param((0, {}), (1, {"temperature": 0.5}), id="another field"),
    pytest.param((0, {}), (1, {"stream": True}), id="another flag"),
    pytest.param((0, {}), (1, {"headers": BOB}), id="another API key"),
    pytest.param((0, {}), (1, {"path": RESPONSES}), id="another protocol"),
    pytest.param((1, {}), (0, {}), id="a first attempt after a retry"),
]


@pytest.mark.parametrize(("one", "other"), NEW_RUNS)
def test_another_request_is_a_new_run(counting: Counting, one: t.Any, other: t.Any) -> None:
    for retries, more in (one, other):
        assert counting.ask(retries, **more).status_code == 200
    assert len(set(counting.calls)) == 2


def test_a_retry_finds_the_latest_of_equal_requests(counting: Counting) -> None:
    runs = [counting.ask(retries).headers["AIStream-Run"] for retries in (0, 0, 1)]
    assert runs[1] == runs[2] != runs[0]


def test_a_retry_after_the_time_limit_is_a_new_run(
    counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting.ask(0)
    monkeypatch.setattr(attempts, "RETRY_SECONDS", -1.0)
    counting.ask(1)
    assert len(counting.calls) == 2


def test_a_retry_after_a_disconnect_is_a_new_run(counting: Counting) -> None:
    asked: dict[str, t.Any] = {"messages": [{"role": "user", "content": "wait"}], "stream": True}
    first = counting.ask(0, **asked, buffered=False)
    first.close()
    process = install(counting.app).process
    stopped = counting.client.get(f"/ai/runs/{first.headers['AIStream-Run']}").get_json()
    assert (stopped["status"], stopped["end"]) == ("stopped", {"by": "detach"})
    counting.gate.open()
    again = counting.ask(1, **asked)
    assert again.text.endswith("data: [DONE]\n\n")
    assert len(counting.calls) == 2
    assert process.runner.count == 0


def test_an_idempotency_key_of_a_run_that_was_left_starts_a_new_one(counting: Counting) -> None:
    asked: dict[str, t.Any] = {"messages": [{"role": "user", "content": "wait"}], "stream": True}
    headers = {**ANN, "Idempotency-Key": "a-key-of-many-characters"}
    counting.ask(None, **asked, headers=headers, buffered=False).close()
    counting.gate.open()
    answers = [counting.ask(None, **asked, headers=headers) for _ in range(2)]
    runs = {answer.headers["AIStream-Run"] for answer in answers}
    assert (len(runs), len(counting.calls)) == (1, 2)


@pytest.mark.parametrize("credential", ["", "Bearer none", "Bearer sk-no-key", "Basic YTpi"])
def test_an_anonymous_retry_without_a_secret_is_a_new_run(
    counting: Counting, credential: str
) -> None:
    headers = {"Authorization": credential} if credential else {}
    for retries in (0, 1):
        assert counting.ask(retries, headers=headers).status_code == 200
    assert len(set(counting.calls)) == 2


@pytest.mark.parametrize("count", ["", "x", "-1", "1.5", "99999", "١"])
def test_a_malformed_count_is_ignored(counting: Counting, count: str) -> None:
    headers = {**ANN, "x-stainless-retry-count": count}
    for _ in range(2):
        assert counting.ask(None, headers=headers).status_code == 200
    assert len(counting.calls) == 2
