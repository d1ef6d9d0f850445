"""A failure before the first byte is an HTTP error, after it a terminal event of the run."""

from __future__ import annotations

import gc
import typing as t
import weakref

import pytest
from flask import Flask
from flask import abort
from flask.testing import FlaskClient

from flask_aistream import AIStream
from flask_aistream import ChatRequest
from flask_aistream import ProviderError
from flask_aistream import RunEnded
from flask_aistream import run_ended
from flask_aistream.core.events import Failed
from flask_aistream.core.events import Finished
from flask_aistream.testing import Gate
from flask_aistream.testing import Script
from flask_aistream.testing import StreamClient
from flask_aistream.web.extension import install
from flask_aistream.web.process import ProcessState
from tests.runs.support import Ends
from tests.runs.support import until
from tests.web.conftest import MakeApp

SECRET = "sk-secret-key"


def raises_at_once(request: ChatRequest) -> t.Any:
    raise ValueError(SECRET)


async def raises_async(request: ChatRequest) -> str:
    raise ValueError(SECRET)


def exits(request: ChatRequest) -> t.Any:
    raise SystemExit(SECRET)


def aborts(request: ChatRequest) -> t.Any:
    abort(404, "There is no such document.")


EARLY: list[t.Any] = [
    pytest.param(Script(ValueError(SECRET)), 500, "provider_error", id="generator"),
    pytest.param(raises_at_once, 500, "provider_error", id="function"),
    pytest.param(raises_async, 500, "provider_error", id="async"),
    pytest.param(exits, 500, "provider_error", id="exit"),
    pytest.param(aborts, 404, "not_found", id="abort"),
    pytest.param(Script(42), 500, "chunk_unknown", id="unknown chunk"),
    pytest.param(
        Script(ProviderError("quota", "No more today.", status=429)), 429, "quota", id="own"
    ),
    pytest.param(Script(Failed("mine", "Sorry.", 402)), 402, "mine", id="event"),
]


@pytest.mark.parametrize(("provider", "status", "code"), EARLY)
def test_a_failure_before_the_first_event_is_an_http_error(
    ai: AIStream, client: FlaskClient, ends: Ends, provider: t.Any, status: int, code: str
) -> None:
    ai.provider(name="chat")(provider)
    response = client.get("/ai/chat?prompt=Hi")
    assert response.status_code == status
    assert response.mimetype == "application/json"
    assert response.get_json()["error"]["code"] == code
    assert SECRET not in response.text + repr(response.headers)
    (ended,) = ends.wait()
    assert isinstance(ended.outcome, Failed)
    assert ended.outcome.code == code


@pytest.mark.parametrize(("provider", "status", "code"), EARLY)
def test_a_failure_after_the_response_began_is_an_event(
    ai: AIStream, make_app: MakeApp, provider: t.Any, status: int, code: str
) -> None:
    ai.provider(name="chat")(provider)
    answer = StreamClient(make_app(commit_seconds=0.0)).read("/ai/chat?prompt=Hi")
    if answer.response.status_code == 200:  # Else it was quicker than our looking away.
        assert isinstance(answer.outcome, Failed)
        assert answer.outcome.code == code


LATE: list[t.Any] = [
    pytest.param(Script("a", ValueError(SECRET)), "provider_error", "log", id="exception"),
    pytest.param(Script("a", 42), "chunk_unknown", "yielded a int,", id="unknown chunk"),
    pytest.param(Script("a", ProviderError("quota", "No more today.")), "quota", "today", id="own"),
]


@pytest.mark.parametrize(("provider", "code", "says"), LATE)
def test_a_failure_in_mid_stream_ends_with_a_terminal_event(
    ai: AIStream, streams: StreamClient, provider: t.Any, code: str, says: str
) -> None:
    ai.provider(name="chat")(provider)
    answer = streams.read("/ai/chat?prompt=Hi")
    assert answer.response.status_code == 200
    assert answer.text == "a"
    assert isinstance(answer.outcome, Failed)
    assert answer.outcome.code == code
    assert says in answer.outcome.message
    failure, end = answer.frames[-2:]
    assert (failure.event, failure.id) == ("failure", None)
    assert (end.event, end.id) == (None, f"{answer.run}:2")
    assert end.data == '{"action":"terminate","reason":"error"}'


def test_no_route_shows_the_text_of_an_exception(
    ai: AIStream, client: FlaskClient, streams: StreamClient, caplog: pytest.LogCaptureFixture
) -> None:
    ai.provider(name="chat")(Script("a", ValueError(SECRET)))
    answer = streams.read("/ai/chat?prompt=Hi")
    told = [
        client.get(f"/ai/runs/{answer.run}").text,
        client.get(f"/ai/runs/{answer.run}/events").text,
        client.post(f"/ai/runs/{answer.run}/stop").text,
    ]
    assert all(SECRET not in text for text in told)
    assert all(f"details under {answer.run[:8]}." in text for text in told)
    assert SECRET in caplog.text
    assert f"Run {answer.run[:8]} of" in caplog.text
    assert answer.run not in caplog.text  # Whoever knows a run's id may read it.


@pytest.mark.parametrize("hook", ["identify", "authorize"])
def test_a_failing_hook_is_a_server_error_without_its_text(
    ai: AIStream, client: FlaskClient, caplog: pytest.LogCaptureFixture, hook: str
) -> None:
    script = Script("a")
    ai.provider(name="chat")(script)

    def broken(*args: t.Any) -> t.Any:
        raise ValueError(SECRET)

    getattr(ai, hook)(broken)
    response = client.get("/ai/chat?prompt=Hi")
    assert response.status_code == 500
    assert response.get_json()["error"]["code"] == "internal_error"
    assert SECRET not in response.text
    assert SECRET in caplog.text
    assert script.requests == []


# Stop, and the one signal at the end.


def test_stop_answers_with_the_stopped_run(
    ai: AIStream, client: FlaskClient, streams: StreamClient, ends: Ends
) -> None:
    script = Script("Hel", Gate(), "lo")
    ai.provider(name="chat")(script)
    with streams.open("/ai/chat?prompt=Hi") as stream:
        next(stream)
        assert next(stream) == "Hel"
        path = f"/ai/runs/{stream.run}/stop"
        assert client.post(path).get_json() == {
            "run": stream.run,
            "stopped": True,
            "events": 3,
            "status": "stopped",
            "text": "Hel",
            "parts": [{"type": "text", "text": "Hel"}],
            "end": {"by": "client"},
        }
        script.wait_closed()
        list(stream)
    assert stream.frames[-1].data == '{"action":"terminate","reason":"stopped"}'
    assert client.post(path).get_json()["stopped"] is False
    assert len(ends.wait()) == 1


def test_stopping_a_finished_run_changes_nothing(
    ai: AIStream, client: FlaskClient, streams: StreamClient
) -> None:
    ai.provider(name="chat")(Script("a"))
    answer = streams.read("/ai/chat?prompt=Hi")
    told = client.post(f"/ai/runs/{answer.run}/stop").get_json()
    assert (told["stopped"], told["status"], told["text"]) == (False, "finished", "a")


def test_run_ended_is_sent_in_an_application_context(
    ai: AIStream, app: Flask, streams: StreamClient
) -> None:
    from flask import current_app

    told: list[t.Any] = []

    def keep(sender: Flask, ended: RunEnded) -> None:
        told.append((sender, current_app.name, ended.run.owner, ended.text))

    ai.identify(lambda: "ann")
    ai.provider(name="chat")(Script("Hel", "lo"))
    with run_ended.connected_to(keep, app):
        streams.read("/ai/chat?prompt=Hi")
        until(lambda: told, "the announcement")
    assert told == [(app, "tests", "ann", "Hello")]


def test_without_detach_time_a_run_stops_with_its_last_reader(
    make_app: MakeApp, ai: AIStream
) -> None:
    gate = Gate()
    script = Script("a", gate)
    ai.provider(name="chat")(script)
    app = make_app(detach_seconds=0)
    with StreamClient(app).open("/ai/chat?prompt=Hi") as stream:
        next(stream)
        next(stream)
    script.wait_closed()
    message = app.test_client().get(f"/ai/runs/{stream.run}").get_json()
    assert (message["status"], message["end"]) == ("stopped", {"by": "detach"})


def test_a_response_closed_before_iteration_frees_everything(
    make_app: MakeApp, ai: AIStream
) -> None:
    script = Script("a", Gate())
    ai.provider(name="chat")(script)
    torn_down: list[bool] = []
    app = make_app(detach_seconds=0)
    app.teardown_request(lambda error: torn_down.append(True))
    with app.test_request_context("/ai/chat?prompt=Hi"):
        response = app.full_dispatch_request()
        response.close()
    script.wait_closed()
    until(lambda: install(app).process.runner.count == 0, "the end of the run")
    assert torn_down


# Limits.


def test_starts_over_the_limit_get_503_with_retry_after(make_app: MakeApp, ai: AIStream) -> None:
    gate = Gate()
    ai.provider(name="chat")(Script("a", gate))
    streams = StreamClient(make_app(max_runs=1))
    with streams.open("/ai/chat?prompt=Hi"):
        refused = streams.open("/ai/chat?prompt=Hi").response
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert refused.get_json()["error"]["code"] == "unavailable"
        gate.open()


def test_a_full_store_refuses_starts_and_continues_its_runs(
    make_app: MakeApp, ai: AIStream
) -> None:
    gate = Gate()
    ai.provider(name="chat")(Script(*["x" * 100_000] * 12, gate, "!"))
    app = make_app(store_bytes=1024 * 1024)
    streams = StreamClient(app)
    with streams.open("/ai/chat?prompt=Hi") as living:
        store = install(app).process.store
        until(lambda: store.open(living.run).read(11).last == 12, "more than there is room for")
        store.sweep()
        refused = streams.open("/ai/chat?prompt=Hi").response
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
        assert refused.get_json()["error"]["code"] == "store_full"
        gate.open()
        assert [*living][-2:] == ["!", Finished()]


def test_a_run_over_its_time_limit_fails(make_app: MakeApp, ai: AIStream) -> None:
    ai.provider(name="chat")(Script("a", Gate()))
    answer = StreamClient(make_app(run_seconds=0.05)).read("/ai/chat?prompt=Hi")
    assert isinstance(answer.outcome, Failed)
    assert answer.outcome.code == "run_timeout"


# What is left.


def test_a_thousand_runs_leave_no_state(
    ai: AIStream, app: Flask, client: FlaskClient, process: ProcessState
) -> None:
    ai.provider(name="chat")(Script("a"))
    for _ in range(1000):
        client.get("/ai/chat?prompt=Hi").close()
    until(lambda: process.runner.count == 0, "the last run's end")
    assert len(process.encoders._encoders) == 0
    assert not process.runner._active_runs._reserved
    assert process.watcher._callbacks == {}
    live = [entry for entry in process.timer._timers if entry[-1].callback is not None]
    assert len(live) < 10


def test_a_collected_application_leaves_no_state(make_app: MakeApp, ai: AIStream) -> None:
    ai.provider(name="chat")(Script("a"))

    def use_one() -> list[weakref.ref[t.Any]]:
        app = make_app()
        StreamClient(app).read("/ai/chat?prompt=Hi")
        return [weakref.ref(app), weakref.ref(install(app).process)]

    gone = use_one()

    def all_gone() -> bool:
        gc.collect()
        return [reference() for reference in gone] == [None, None]

    until(all_gone, "the application's end")


def test_an_error_while_the_response_is_made_detaches_the_reader(
    make_app: MakeApp, ai: AIStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> t.Any:
        raise OSError(SECRET)

    script = Script("a", Gate())
    ai.provider(name="chat")(script)
    app = make_app(detach_seconds=0)
    monkeypatch.setattr("flask_aistream.web.stream.stream_response", fail)
    response = app.test_client().get("/ai/chat?prompt=Hi")
    assert (response.status_code, response.get_json()["error"]["code"]) == (500, "internal_error")
    script.wait_closed()  # Nobody reads it, so it was given up.
