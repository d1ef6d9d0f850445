"""What a provider's code sees of the request, and what the application learns of its exceptions."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import threading
import time
import typing as t
import weakref
from collections.abc import Callable

import pytest
from flask import Flask
from flask import abort
from flask import got_request_exception
from flask import has_request_context
from flask import request as flask_request
from flask.testing import FlaskClient
from werkzeug.exceptions import TooManyRequests

from flask_aistream import AIStream
from flask_aistream import ProviderError
from flask_aistream.core.events import Failed
from flask_aistream.core.events import Finished
from flask_aistream.errors import ChunkUnknown
from flask_aistream.providers.failure import failure
from flask_aistream.testing import StreamClient
from tests.providers.test_raw import HELLO
from tests.runs.support import until
from tests.upstream.clients import endpoint
from tests.upstream.memory import ASKED
from tests.upstream.scripted import Script
from tests.upstream.scripted import Scripted
from tests.web.conftest import MakeApp

TRACE: contextvars.ContextVar[str] = contextvars.ContextVar("trace")


def seen() -> str:
    return f"{TRACE.get('none')} {has_request_context()}"


def plain(request: t.Any) -> t.Iterator[str]:
    yield seen()


async def asynchronous(request: t.Any) -> t.AsyncIterator[str]:
    yield seen()


@pytest.mark.parametrize("provider", [plain, asynchronous])
def test_context_variables_of_the_request_reach_the_provider_without_the_request(
    app: Flask, ai: AIStream, streams: StreamClient, provider: t.Any
) -> None:
    requests: list[weakref.ref[t.Any]] = []

    @app.before_request
    def trace() -> None:
        TRACE.set(flask_request.headers["X-Trace"])
        requests.append(weakref.ref(flask_request._get_current_object()))  # type: ignore[attr-defined]

    ai.provider(name="chat")(provider)
    answers = [streams.read("/ai/chat?prompt=Hi", headers={"X-Trace": it}).text for it in "ab"]

    assert answers == ["a False", "b False"]
    gc.collect()
    assert [ref() for ref in requests] == [None, None]


class Unexpected(Exception):
    pass


def raises(error: BaseException, *before: str) -> t.Any:
    def provider(request: t.Any) -> t.Iterator[str]:
        yield from before
        raise error

    return provider


@pytest.fixture
def signalled(app: Flask) -> t.Iterator[list[BaseException]]:
    sent: list[BaseException] = []

    def receive(sender: Flask, exception: BaseException, **extra: t.Any) -> None:
        assert sender is app
        sent.append(exception)

    with got_request_exception.connected_to(receive, app):
        yield sent


@pytest.mark.parametrize("before", [(), ("a",)], ids=["before the first event", "after it"])
def test_got_request_exception_is_sent_once_for_an_unexpected_exception(
    ai: AIStream, client: FlaskClient, signalled: list[BaseException], before: tuple[str, ...]
) -> None:
    error = Unexpected()
    ai.provider(name="chat")(raises(error, *before))
    client.get("/ai/chat?prompt=Hi").get_data()

    assert signalled == [error]


EXPECTED = [
    ProviderError("mine", "Sorry."),
    failure("upstream_auth"),
    TooManyRequests(retry_after=7),
]


@pytest.mark.parametrize("propagate", [False, True])
@pytest.mark.parametrize("error", EXPECTED, ids=lambda error: type(error).__name__)
def test_a_failure_that_is_raised_on_purpose_is_neither_signalled_nor_propagated(
    app: Flask,
    ai: AIStream,
    client: FlaskClient,
    signalled: list[BaseException],
    error: Exception,
    propagate: bool,
) -> None:
    app.config["PROPAGATE_EXCEPTIONS"] = propagate
    ai.provider(name="chat")(raises(error))

    assert client.get("/ai/chat?prompt=Hi").status_code >= 400
    assert signalled == []


@pytest.mark.parametrize("path", ["/ai/chat?prompt=Hi", "/ai/v1/chat/completions"])
@pytest.mark.parametrize("setting", [True, None], ids=["PROPAGATE_EXCEPTIONS", "TESTING"])
def test_an_exception_before_the_first_event_propagates_where_the_application_asks_for_it(
    app: Flask,
    ai: AIStream,
    client: FlaskClient,
    signalled: list[BaseException],
    setting: bool | None,
    path: str,
) -> None:
    app.config["PROPAGATE_EXCEPTIONS"] = setting
    ai.provider(name="chat")(raises(Unexpected("mine")))
    body = {"model": "chat", "messages": [{"role": "user", "content": "Hi"}]}

    with pytest.raises(Unexpected, match="mine"):
        client.post(path, json=body)
    assert len(signalled) == 1


def test_an_exception_after_the_response_has_begun_is_signalled(
    make_app: MakeApp, ai: AIStream
) -> None:
    begun, error, signalled = threading.Event(), Unexpected(), []

    def provider(request: t.Any) -> t.Any:
        begun.wait(5)
        raise error

    ai.provider(name="chat")(provider)
    app = make_app(commit_seconds=0.01)
    app.config["PROPAGATE_EXCEPTIONS"] = None

    def receive(sender: Flask, exception: BaseException, **extra: t.Any) -> None:
        signalled.append(exception)

    with got_request_exception.connected_to(receive, app):
        response = app.test_client().get("/ai/chat?prompt=Hi")
        assert response.status_code == 200
        begun.set()
        assert b"provider_error" in response.get_data()

    assert signalled == [error]


def test_an_exception_of_a_run_that_no_response_waits_for_is_signalled(
    app: Flask, ai: AIStream, client: FlaskClient, signalled: list[BaseException]
) -> None:
    app.config["PROPAGATE_EXCEPTIONS"] = None
    error = Unexpected()
    ai.provider(name="chat")(raises(error))
    app.add_url_rule("/start", "start", lambda: ai.start("chat", "Hi").id)
    client.get("/start")

    until(lambda: bool(signalled))
    assert signalled == [error]


def test_an_unknown_chunk_propagates_too(app: Flask, ai: AIStream, client: FlaskClient) -> None:
    app.config["PROPAGATE_EXCEPTIONS"] = None
    ai.provider(name="chat")(lambda request: [42])

    with pytest.raises(ChunkUnknown):
        client.get("/ai/chat?prompt=Hi")


def test_an_exception_after_the_first_event_is_an_attribute_of_the_test_clients_stream(
    app: Flask, ai: AIStream, streams: StreamClient
) -> None:
    app.config["PROPAGATE_EXCEPTIONS"] = None
    error = Unexpected()
    ai.provider(name="chat")(raises(error, "a"))
    answer = streams.read("/ai/chat?prompt=Hi")

    assert answer.exception is error
    assert isinstance(answer.outcome, Failed)


def test_abort_is_the_http_error(ai: AIStream, client: FlaskClient) -> None:
    @ai.provider
    def chat(request: t.Any) -> t.Any:
        abort(404, "There is no such document.")

    response = client.get("/ai/chat?prompt=Hi")
    assert response.status_code == 404
    assert response.get_json()["error"]["message"] == "There is no such document."


def test_retry_after_of_the_models_service_is_passed_on(ai: AIStream, client: FlaskClient) -> None:
    ai.provider(name="chat")(raises(failure("upstream_rate_limited", 7.2)))
    response = client.get("/ai/chat?prompt=Hi")

    assert (response.status_code, response.headers["Retry-After"]) == (429, "8")


def slow(request: t.Any) -> t.Iterator[str]:
    time.sleep(0.5)
    yield "a"


def silent(request: t.Any) -> t.Iterator[str]:
    yield "a"
    time.sleep(30)


@pytest.mark.parametrize("own", [{}, {"idle_seconds": 0.2}, {"idle_seconds": None}], ids=repr)
def test_a_provider_that_yields_nothing_for_too_long_is_ended(
    make_app: MakeApp, ai: AIStream, own: dict[str, t.Any]
) -> None:
    limit = 60 if own.get("idle_seconds") else 0.2
    if own.get("idle_seconds", 0) is None:
        ai.provider(name="chat", **own)(slow)
        expected: t.Any = Finished()
    else:
        ai.provider(name="chat", **own)(silent)
        expected = "idle_timeout"
    app = make_app(idle_seconds=limit)
    outcome = StreamClient(app).read("/ai/chat?prompt=Hi").outcome

    assert getattr(outcome, "code", outcome) == expected


async def stops_the_loop() -> None:
    asyncio.get_running_loop().stop()


async def exits() -> None:
    sys.exit(1)


async def interrupts() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("fault", [stops_the_loop, exits, interrupts])
def test_async_runs_go_on_after_a_task_has_stopped_the_event_loop(
    ai: AIStream, streams: StreamClient, fault: t.Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def faulty(request: t.Any) -> t.AsyncIterator[str]:
        task = asyncio.get_running_loop().create_task(fault())
        yield "a"
        await asyncio.sleep(0.01)
        await task

    ai.provider(name="faulty")(faulty)
    ai.provider(name="chat")(asynchronous)
    streams.read("/ai/faulty?prompt=Hi")

    assert streams.read("/ai/chat?prompt=Hi").text.endswith("False")
    assert "stopped the event loop" in caplog.text


@pytest.fixture
def no_provider_works() -> Callable[[], bool]:
    """Whether the providers that began in this test have returned, and read their responses out."""
    before = set(threading.enumerate())

    def check() -> bool:
        new = set(threading.enumerate()) - before
        return not any(thread.name == "aistream-run" for thread in new)

    return check


def test_the_connection_of_a_complete_raw_answer_is_used_again(
    ai: AIStream, streams: StreamClient, no_provider_works: Callable[[], bool]
) -> None:
    with Scripted(Script(HELLO)) as server:
        completions = endpoint("openai-chat", server.url)
        ask = completions.with_streaming_response.create
        ai.provider(name="chat")(lambda request: ask(**ASKED["openai-chat"]))
        for _ in range(3):
            assert streams.read("/ai/chat?prompt=Hi").text == "Hello"
            until(no_provider_works)
        completions._client.close()

    assert len(server.connections) == 1


def test_a_server_that_closes_late_delays_no_end(
    ai: AIStream, streams: StreamClient, no_provider_works: Callable[[], bool]
) -> None:
    late = threading.Event()
    with Scripted(Script([*HELLO, lambda: late.wait(10)])) as server:
        completions = endpoint("openai-chat", server.url)
        ask = completions.with_streaming_response.create
        ai.provider(name="chat")(lambda request: ask(**ASKED["openai-chat"]))
        started = time.monotonic()
        assert streams.read("/ai/chat?prompt=Hi").outcome == Finished()
        assert time.monotonic() - started < 1.0
        until(no_provider_works)  # Its connection is given up after a second.
        late.set()
        completions._client.close()
