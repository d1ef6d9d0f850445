"""``RunHandle``: runs that the application's own code starts, reads and stops."""

from __future__ import annotations

import threading
import typing as t
from collections.abc import Iterator

import pytest
from flask import Flask
from flask import Response
from flask.testing import FlaskClient

from flask_aistream import AIStream
from flask_aistream import ChatRequest
from flask_aistream.core import events as ev
from flask_aistream.core.page import Page
from flask_aistream.errors import CursorInvalid
from flask_aistream.errors import KeyReused
from flask_aistream.errors import ProviderNotFound
from flask_aistream.errors import RegistrationError
from flask_aistream.errors import RequestError
from flask_aistream.errors import RunNotFound
from flask_aistream.errors import Unavailable
from flask_aistream.stores.base import PAGE
from flask_aistream.stores.memory import MemoryLog
from flask_aistream.testing import DEADLINE
from flask_aistream.testing import Gate
from flask_aistream.testing import StreamClient
from tests.runs.support import Ends
from tests.runs.support import until
from tests.web.conftest import MakeApp


@pytest.fixture
def gate(ai: AIStream) -> Gate:
    """What the provider ``slow`` waits for after its first word."""
    gate = Gate()

    @ai.provider
    def slow(request: ChatRequest) -> Iterator[str]:
        yield "Well, "
        gate.pass_through()
        yield "no."

    return gate


@pytest.fixture(autouse=True)
def chat(ai: AIStream) -> None:
    @ai.provider
    def chat(request: ChatRequest) -> Iterator[str]:
        yield f"{request.prompt}!"


@pytest.fixture
def context(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


needs_context = pytest.mark.usefixtures("context")


@pytest.mark.parametrize(
    "request_",
    [
        "Hi",
        {"prompt": "Hi"},
        {"messages": [{"role": "user", "content": "Hi"}]},
        ChatRequest("Hi", [{"role": "user", "content": "Hi"}], provider="other", run="other"),
        ChatRequest("Hi", []),
    ],
    ids=["prompt", "object", "messages", "request", "only a prompt"],
)
@needs_context
def test_a_run_starts_without_a_request(ai: AIStream, request_: t.Any) -> None:
    run = ai.start("chat", request_)
    assert run.wait(DEADLINE) == ev.Finished()
    assert (run.text, run.status, run.run.provider) == ("Hi!", "finished", "chat")


@needs_context
def test_a_provider_sees_every_argument_of_start(ai: AIStream) -> None:
    seen: list[ChatRequest] = []

    @ai.provider
    def keep(request: ChatRequest) -> str:
        seen.append(request)
        return ""

    asked = {"prompt": "Hi", "temperature": 0}
    run = ai.start("keep", asked, owner="ann", chat="c1", background=True)
    run.wait(DEADLINE)
    (request,) = seen
    assert (request.prompt, request.params, request.body) == ("Hi", {"temperature": 0}, asked)
    assert (request.provider, request.run) == ("keep", run.id)
    assert (request.owner, request.chat, request.background) == ("ann", "c1", True)
    ai.start("keep", request).wait(DEADLINE)
    assert (seen[1].owner, seen[1].chat, seen[1].background) == ("ann", "c1", True)


def test_a_handle_works_outside_of_a_context(app: Flask, ai: AIStream, gate: Gate) -> None:
    with app.app_context():
        run = ai.start("slow", "Hi")
    events = run.events()
    assert [next(events), next(events)] == [ev.RunStarted(run.id, "slow"), "Well, "]
    assert (run.status, run.text) == ("running", "Well, ")
    gate.open()
    assert list(events) == ["no.", ev.Finished()]
    assert run.message.to_json()["text"] == "Well, no."
    assert list(run.events(after=2)) == [ev.Finished()]


@needs_context
def test_wait_raises_at_its_timeout(ai: AIStream, gate: Gate) -> None:
    run = ai.start("slow", "Hi")
    with pytest.raises(TimeoutError, match=r"has not ended within 0\.01 s"):
        run.wait(0.01)
    assert run.status == "running"
    gate.open()
    assert run.wait(DEADLINE) == run.wait(0) == ev.Finished()


@needs_context
def test_status_and_wait_do_not_read_what_the_run_has_produced_so_far(
    ai: AIStream, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ai.start("slow", "Hi")
    until(lambda: run.text == "Well, ")
    reads: list[int] = []
    read = MemoryLog.read

    def counted(log: MemoryLog, after: int, limit: int = PAGE) -> Page:
        reads.append(after)
        return read(log, after, limit)

    monkeypatch.setattr(MemoryLog, "read", counted)
    assert (run.status, reads) == ("running", [])
    waiting = threading.Thread(target=run.wait, args=(DEADLINE,))
    waiting.start()
    until(lambda: reads, "the first look for new events")
    gate.open()
    waiting.join(DEADLINE)
    assert min(reads) == 1  # "Well, " has number 1.
    reads.clear()
    assert (run.status, run.wait(0), reads) == ("finished", ev.Finished(), [])


@needs_context
def test_a_handle_stops_its_run(ai: AIStream, gate: Gate, ends: Ends) -> None:
    run = ai.start("slow", "Hi")
    until(lambda: run.text)
    assert run.stop()
    assert not run.stop()
    assert run.wait(DEADLINE) == ev.Stopped("application")
    assert [ended.run.id for ended in ends.wait()] == [run.id]


def test_reading_or_waiting_keeps_a_run_from_being_stopped(
    make_app: MakeApp, ai: AIStream, gate: Gate
) -> None:
    with make_app(detach_seconds=0).app_context():
        run = ai.start("slow", "Hi")
        reading, leaving = run.events(), run.events()
        assert next(reading) == next(leaving)
        leaving.close()
        with pytest.raises(TimeoutError):
            run.wait(0.01)
        assert run.status == "running"
        reading.close()
        assert run.wait(DEADLINE) == ev.Stopped("detach")


def test_a_background_run_needs_no_reader(make_app: MakeApp, ai: AIStream, gate: Gate) -> None:
    with make_app(detach_seconds=0).app_context():
        run = ai.start("slow", "Hi", background=True)
        events = run.events()
        next(events)
        events.close()
        gate.open()
        assert run.wait(DEADLINE) == ev.Finished()


@needs_context
def test_a_key_starts_one_run(ai: AIStream) -> None:
    run = ai.start("chat", "Hi", key="k")
    assert ai.start("chat", {"prompt": "Hi", "request_id": "k"}).id == run.id
    assert ai.start("chat", "Hi", key="k", owner="ann").id != run.id
    with pytest.raises(KeyReused):
        ai.start("chat", "Ho", key="k")


@needs_context
def test_attach_finds_only_runs_of_the_given_owner(ai: AIStream) -> None:
    run = ai.start("chat", "Hi", owner="ann")
    assert ai.attach(run.id).id == ai.attach(run.id, owner="ann").id == run.id
    for stranger in ("bob", None):
        with pytest.raises(RunNotFound):
            ai.attach(run.id, owner=stranger)
    with pytest.raises(RunNotFound):
        ai.attach("nobody")


def test_start_skips_authorize_but_applies_limits(
    make_app: MakeApp, ai: AIStream, gate: Gate
) -> None:
    ai.authorize(lambda request: False)
    with make_app(max_runs_per_owner=1, max_prompt_characters=5).app_context():
        ai.start("slow", "Hi", owner="ann")
        with pytest.raises(Unavailable, match="which is the limit"):
            ai.start("slow", "Hi", owner="ann")
        with pytest.raises(RequestError, match="at most 5"):
            ai.start("chat", "Hello!")
        gate.open()


Wrong = tuple[type[Exception], str, tuple[t.Any, ...], dict[str, t.Any]]
WRONG: dict[str, Wrong] = {
    "provider": (ProviderNotFound, "There is no provider 'chap'", ("chap", "Hi"), {}),
    "kind of provider": (TypeError, "provider is 7 ", (7, "Hi"), {}),
    "kind of request": (RequestError, "The request is a list but must be", ("chat", []), {}),
    "field": (RequestError, "`prompt` is a number", ("chat", {"prompt": 7}), {}),
    "nothing asked": (RequestError, "The request has no prompt", ("chat", {}), {}),
    "resuming": (RequestError, "ai.attach", ("chat", {"prompt": "", "last_event_id": "a:1"}), {}),
    "key": (RequestError, "printable ASCII", ("chat", "Hi"), {"key": "a b"}),
    "kind of key": (TypeError, "key is 7 .* must be a str", ("chat", "Hi"), {"key": 7}),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@needs_context
def test_a_wrong_argument_of_start_is_named(ai: AIStream, wrong: Wrong) -> None:
    kind, message, args, options = wrong
    with pytest.raises(kind, match=message):
        ai.start(*args, **options)


@needs_context
def test_events_after_a_number_beyond_the_log_are_refused(ai: AIStream) -> None:
    run = ai.start("chat", "Hi")
    run.wait(DEADLINE)
    with pytest.raises(CursorInvalid):
        list(run.events(after=100))


def test_trimmed_events_raise_with_the_number_to_continue_from(
    make_app: MakeApp, ai: AIStream
) -> None:
    @ai.provider
    def long(request: ChatRequest) -> Iterator[str]:
        yield from "0123456789"

    with make_app(log_events=4).app_context():
        run = ai.start("long", "Hi")
        run.wait(DEADLINE)
        with pytest.raises(RequestError, match=r"Continue with events\(after=(\d+)\)") as refused:
            list(run.events())
        first = int(str(refused.value).rpartition("=")[2].rstrip(").")) + 1
        assert list(run.events(after=first - 1))[-1] == ev.Finished()


def test_start_without_registration_names_register_blueprint(ai: AIStream) -> None:
    with (
        Flask("other").app_context(),
        pytest.raises(RegistrationError, match="not registered in 'other'"),
    ):
        ai.start("chat", "Hi")


@needs_context
def test_a_provider_that_needs_a_request_is_not_started_without_one(ai: AIStream) -> None:
    ai.provider(name="asking", context="request")(lambda request: "")
    with pytest.raises(RegistrationError, match="there is no request here"):
        ai.start("asking", "Hi")


@pytest.fixture
def views(app: Flask, ai: AIStream) -> None:
    """Views of the application's own."""

    @app.post("/ask/<protocol>")
    def ask(protocol: str) -> Response:
        return ai.start("chat", "Hi").response(protocol)

    @app.get("/read/<run_id>")
    def read(run_id: str) -> Response:
        return ai.attach(run_id).response()


@pytest.mark.usefixtures("views")
def test_an_application_view_streams_and_resumes(streams: StreamClient) -> None:
    answer = streams.read("/ask/native", method="POST")
    assert answer.text == "Hi!"
    assert answer.frames[0].data is not None
    assert f'"events":"/ai/runs/{answer.run}/events"' in answer.frames[0].data
    rest = streams.read(f"/read/{answer.run}", headers={"Last-Event-ID": f"{answer.run}:1"})
    assert rest.events == [ev.Finished()]
    again = streams.read(f"/read/{answer.run}", headers={"Last-Event-ID": "other:1"})
    assert again.text == "Hi!"


@pytest.mark.usefixtures("views")
def test_an_application_view_streams_any_protocol(client: FlaskClient) -> None:
    assert client.post("/ask/text").text == "Hi!"
    assert '"delta":"Hi!"' in client.post("/ask/ai-sdk").text.replace(": ", ":")


@pytest.mark.usefixtures("views")
@pytest.mark.parametrize(
    ("method", "path", "code"),
    [("POST", "/ask/xml", "protocol_unknown"), ("GET", "/read/nothing", "run_not_found")],
)
def test_an_error_in_an_application_view_is_answered_as_json(
    client: FlaskClient, method: str, path: str, code: str
) -> None:
    response = client.open(path, method=method)
    assert (response.status_code, response.get_json()["error"]["code"]) == (404, code)
