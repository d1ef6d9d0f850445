"""Resuming a run after a lost connection, and attaching a retried start to its run."""

from __future__ import annotations

import threading
import typing as t

import pytest
from flask.testing import FlaskClient

from flask_aistream import AIStream
from flask_aistream import Finished
from flask_aistream.core.events import Failed
from flask_aistream.core.events import RunStarted
from flask_aistream.testing import DEADLINE
from flask_aistream.testing import Gate
from flask_aistream.testing import Script
from flask_aistream.testing import Stream
from flask_aistream.testing import StreamClient
from flask_aistream.web.process import ProcessState
from tests.web.conftest import MakeApp

COMING_BACK: list[t.Any] = [
    pytest.param(
        lambda cursor: {"path": "/ai/chat?prompt=Hi", "headers": {"Last-Event-ID": cursor}},
        id="header on the very URL that started it",
    ),
    pytest.param(lambda cursor: {"path": f"/ai/chat?prompt=Hi&last_event_id={cursor}"}, id="query"),
    pytest.param(lambda cursor: {"path": f"/ai/chat?last_event_id={cursor}"}, id="query alone"),
    pytest.param(
        lambda cursor: {"path": "/ai/chat", "json": {"prompt": "Hi", "last_event_id": cursor}},
        id="body",
    ),
    pytest.param(
        lambda cursor: {
            "path": "/ai/chat",
            "json": {"prompt": "Hi"},
            "headers": {"Last-Event-ID": cursor},
        },
        id="header of a POST",
    ),
    pytest.param(
        lambda cursor: {
            "path": f"/ai/runs/{cursor.partition(':')[0]}/events",
            "headers": {"Last-Event-ID": cursor},
        },
        id="the run's own URL",
    ),
    pytest.param(
        lambda cursor: {
            "path": f"/ai/runs/{cursor.partition(':')[0]}/events?last_event_id={cursor}"
        },
        id="the run's own URL with a query",
    ),
]


@pytest.fixture
def script(ai: AIStream) -> Script:
    script = Script(*"abcdef")
    ai.provider(name="chat")(script)
    return script


@pytest.mark.parametrize("again", COMING_BACK)
def test_resuming_at_any_record_repeats_nothing_and_loses_nothing(
    streams: StreamClient, script: Script, again: t.Any
) -> None:
    first = streams.read("/ai/chat?prompt=Hi")
    for number in range(7):
        rest = streams.read(**again(f"{first.run}:{number}"))
        assert rest.run == first.run
        assert rest.events == first.events[number + 1 :]
    assert len(script.requests) == 1


@pytest.mark.parametrize("again", COMING_BACK)
def test_resuming_at_the_end_is_204(
    streams: StreamClient, client: FlaskClient, script: Script, again: t.Any
) -> None:
    first = streams.read("/ai/chat?prompt=Hi")
    request = again(first.last_event_id)
    response = client.open(method="POST" if "json" in request else "GET", **request)
    assert (response.status_code, response.data) == (204, b"")
    assert "Content-Type" not in response.headers
    assert len(script.requests) == 1


@pytest.mark.parametrize("again", COMING_BACK)
def test_a_cursor_beyond_the_end_is_refused(
    streams: StreamClient, client: FlaskClient, script: Script, again: t.Any
) -> None:
    first = streams.read("/ai/chat?prompt=Hi")
    request = again(f"{first.run}:99")
    response = client.open(method="POST" if "json" in request else "GET", **request)
    assert response.status_code == 400
    assert response.get_json()["error"]["code"] == "cursor_invalid"


def test_a_run_read_by_its_url_starts_at_the_beginning(
    streams: StreamClient, script: Script
) -> None:
    first = streams.read("/ai/chat?prompt=Hi")
    assert streams.read(f"/ai/runs/{first.run}/events").events == first.events


def test_a_cursor_of_another_run_is_404(
    streams: StreamClient, client: FlaskClient, script: Script
) -> None:
    one, other = streams.read("/ai/chat?prompt=Hi"), streams.read("/ai/chat?prompt=Hi")
    response = client.get(
        f"/ai/runs/{one.run}/events", headers={"Last-Event-ID": other.last_event_id}
    )
    assert response.status_code == 404


def test_head_of_a_run_streams_nothing(
    streams: StreamClient, client: FlaskClient, script: Script
) -> None:
    first = streams.read("/ai/chat?prompt=Hi")
    head = client.head(f"/ai/runs/{first.run}/events")
    assert (head.status_code, head.mimetype, head.data) == (200, "text/event-stream", b"")


def test_a_run_continues_without_readers(ai: AIStream, streams: StreamClient) -> None:
    gate = Gate()
    script = Script("a", gate, "b", "c")
    ai.provider(name="chat")(script)
    with streams.open("/ai/chat?prompt=Hi") as first:
        assert [next(first), next(first)] == [RunStarted(first.run, "chat"), "a"]
    gate.open()
    script.wait_closed()
    rest = streams.read("/ai/chat?prompt=Hi", headers={"Last-Event-ID": first.last_event_id})
    assert rest.events == ["b", "c", Finished()]
    assert len(script.requests) == 1


def test_many_clients_read_one_run_at_once(ai: AIStream, streams: StreamClient) -> None:
    gate = Gate()
    ai.provider(name="chat")(Script("a", gate, *map(str, range(500))))
    with streams.open("/ai/chat?prompt=Hi") as first:
        next(first)
        read: list[Stream] = []
        readers = [
            threading.Thread(
                target=lambda: read.append(streams.read(f"/ai/runs/{first.run}/events"))
            )
            for _ in range(8)
        ]
        for reader in readers:
            reader.start()
        gate.open()
        for reader in readers:
            reader.join(DEADLINE)
        list(first)
    assert [stream.events for stream in read] == [first.events] * 8


def test_resuming_before_a_trimmed_record_gets_a_gap_event(make_app: MakeApp, ai: AIStream) -> None:
    ai.provider(name="chat")(Script(*map(str, range(20))))
    streams = StreamClient(make_app(log_events=8))
    first = streams.read("/ai/chat?prompt=Hi")
    rest = streams.read("/ai/chat", headers={"Last-Event-ID": f"{first.run}:1"})
    gap, oldest = rest.frames[0], rest.frames[1]
    assert gap.event == "gap"
    assert gap.data is not None
    assert oldest.id is not None
    assert gap.data == f'{{"first":{oldest.id.partition(":")[2]}}}'
    assert rest.events == first.events[-len(rest.events) :]
    assert rest.outcome == Finished()


def test_resuming_a_failed_run_repeats_the_failure(ai: AIStream, streams: StreamClient) -> None:
    ai.provider(name="chat")(Script("a", ValueError()))
    first = streams.read("/ai/chat?prompt=Hi")
    rest = streams.read("/ai/chat", headers={"Last-Event-ID": f"{first.run}:1"})
    assert isinstance(rest.outcome, Failed)
    assert rest.events == first.events[2:]


# The same start, twice.

KEY = "a-key-nobody-guesses"

KEYS: list[t.Any] = [
    pytest.param(
        lambda key: {"json": {"prompt": "Hi"}, "headers": {"Idempotency-Key": key}}, id="header"
    ),
    pytest.param(lambda key: {"json": {"prompt": "Hi", "request_id": key}}, id="body"),
    pytest.param(lambda key: {"query_string": {"prompt": "Hi", "request_id": key}}, id="query"),
]


@pytest.mark.parametrize("first", KEYS)
@pytest.mark.parametrize("second", KEYS)
def test_a_retry_with_the_same_key_attaches_to_its_run(
    streams: StreamClient, script: Script, first: t.Any, second: t.Any
) -> None:
    one = streams.read("/ai/chat", **first(KEY))
    other = streams.read("/ai/chat", **second(KEY))
    assert one.run == other.run
    assert one.events == other.events
    assert len(script.requests) == 1


def test_another_key_starts_another_run(streams: StreamClient, script: Script) -> None:
    runs = [streams.read("/ai/chat", **KEYS[0].values[0](key)).run for key in (KEY, f"{KEY}-2")]
    assert runs[0] != runs[1]


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": "Bye"},
        {"prompt": "Hi", "temperature": 1},
        {"messages": [{"role": "system", "content": "Hi"}], "prompt": "Hi"},
    ],
)
def test_another_body_under_the_same_key_is_refused(
    streams: StreamClient, client: FlaskClient, script: Script, other: dict[str, t.Any]
) -> None:
    key = {"Idempotency-Key": KEY}
    streams.read("/ai/chat", json={"prompt": "Hi"}, headers=key)
    response = client.post("/ai/chat", json=other, headers=key)
    assert response.status_code == 422
    assert response.get_json()["error"]["code"] == "key_reused"
    assert len(script.requests) == 1


def test_a_key_belongs_to_its_owner_and_its_provider(
    ai: AIStream, streams: StreamClient, script: Script
) -> None:
    from flask import request

    ai.identify(lambda: request.headers.get("X-User"))
    ai.provider(name="other")(script)
    asked = [("/ai/chat", "ann"), ("/ai/chat", "bob"), ("/ai/other", "ann")]
    runs = {
        streams.read(
            path, json={"prompt": "Hi"}, headers={"X-User": user, "Idempotency-Key": KEY}
        ).run
        for path, user in asked
    }
    assert len(runs) == 3


def test_concurrent_starts_under_one_key_start_one_run(
    streams: StreamClient, script: Script, process: ProcessState
) -> None:
    read: list[Stream] = []
    together = threading.Barrier(8)

    def ask() -> None:
        together.wait(DEADLINE)
        read.append(streams.read("/ai/chat", **KEYS[0].values[0](KEY)))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert [stream.text for stream in read] == ["abcdef"] * 8
    assert len({stream.run for stream in read}) == 1
    assert len(script.requests) == 1


def test_a_retry_of_a_failed_start_fails_the_same_way(ai: AIStream, client: FlaskClient) -> None:
    script = Script(ValueError("secret"))
    ai.provider(name="chat")(script)
    asked = KEYS[0].values[0](KEY)
    answers = [client.post("/ai/chat", **asked) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [500, 500]
    assert answers[0].data == answers[1].data
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    ("run", "store", "named"),
    [("x" * 22, "memory", 1), ("unknown", "memory", 0), ("x" * 22, "sqlite", 0)],
)
def test_a_run_that_another_process_may_have_is_logged_once(
    make_app: MakeApp,
    tmp_path: t.Any,
    caplog: pytest.LogCaptureFixture,
    run: str,
    store: str,
    named: int,
) -> None:
    url = f"sqlite:///{tmp_path}/runs.sqlite" if store == "sqlite" else "memory://"
    client = make_app(store=url).test_client()
    for _ in range(2):
        assert client.get(f"/ai/runs/{run}/events").status_code == 404
        assert client.post(f"/ai/runs/{run}/stop").status_code == 404
    assert caplog.text.count("set AISTREAM_STORE to a store") == named
