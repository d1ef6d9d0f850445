"""Malformed requests are refused, with a sentence that says what would be valid."""

from __future__ import annotations

import json
import time
import tracemalloc
import typing as t

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_aistream import AIStream
from flask_aistream.testing import Script
from flask_aistream.testing import StreamClient
from flask_aistream.web import json_body
from tests.web.conftest import MakeApp

URLENCODED = "application/x-www-form-urlencoded"
USER = {"role": "user", "content": "Hi"}
DEEP = b"[" * 50_000


def fault_of(response: TestResponse) -> tuple[int, str]:
    """Status and code of an error, which is well-formed."""
    assert response.mimetype == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    (error,) = response.get_json().values()
    assert set(error) == {"code", "message", "reference"}
    assert error["message"][0].isupper() or error["message"][0] == "`"
    assert error["message"].endswith(".")
    return response.status_code, error["code"]


BODIES: list[t.Any] = [
    (b"", 400, "body_invalid", "not JSON"),
    (b"{", 400, "body_invalid", "not JSON"),
    (b"prompt=Hi", 400, "body_invalid", "not JSON"),
    (b'{"prompt": "\xff"}', 400, "body_invalid", "not JSON"),
    (b'{"a": ' + b"1" * 5000 + b"}", 400, "body_invalid", "not JSON"),
    (DEEP, 400, "body_invalid", "deep"),
    (b"[]", 400, "body_invalid", "a list"),
    (b'"Hi"', 400, "body_invalid", "a string"),
    (b"null", 400, "body_invalid", "null"),
    (b"7", 400, "body_invalid", "a number"),
    (b"true", 400, "body_invalid", "a boolean"),
    ({}, 422, "prompt_missing", "`prompt`"),
    ({"params": 1}, 422, "prompt_missing", "`messages`"),
    ({"prompt": None}, 422, "prompt_missing", "`prompt`"),
    ({"messages": []}, 422, "prompt_missing", "`messages`"),
    ({"prompt": 7}, 422, "prompt_invalid", "a number"),
    ({"prompt": ["Hi"]}, 422, "prompt_invalid", "a list"),
    ({"prompt": {"text": "Hi"}}, 422, "prompt_invalid", "an object"),
    ({"messages": "Hi"}, 422, "messages_invalid", "a string"),
    ({"messages": {}}, 422, "messages_invalid", "an object"),
    ({"messages": ["Hi"]}, 422, "messages_invalid", "messages[0]"),
    ({"messages": [USER, None]}, 422, "messages_invalid", "messages[1]"),
    ({"messages": [{"content": "Hi"}]}, 422, "messages_invalid", "role"),
    ({"messages": [{"role": "robot", "content": "Hi"}]}, 422, "messages_invalid", "role"),
    ({"messages": [{"role": "user"}]}, 422, "messages_invalid", "content"),
    ({"messages": [{"role": "user", "content": 7}]}, 422, "messages_invalid", "content"),
    ({"messages": [{"role": "user", "content": [7]}]}, 422, "messages_invalid", "part"),
    ({"prompt": "Hi", "last_event_id": 7}, 422, "last_event_id_invalid", "a number"),
    ({"prompt": "Hi", "request_id": 7}, 422, "request_id_invalid", "a number"),
    ({"prompt": "Hi", "request_id": "a b"}, 400, "key_invalid", "Idempotency-Key"),
    ({"prompt": "Hi", "request_id": "é"}, 400, "key_invalid", "Idempotency-Key"),
    ({"prompt": "Hi", "request_id": "x" * 256}, 400, "key_invalid", "Idempotency-Key"),
    ({"prompt": "Hi", "last_event_id": "r/1"}, 400, "cursor_invalid", "run:number"),
    ({"prompt": "Hi", "last_event_id": "r:1"}, 404, "run_not_found", "does not exist"),
]


@pytest.fixture
def script(ai: AIStream) -> Script:
    script = Script("a")
    ai.provider(name="chat")(script)
    return script


@pytest.mark.parametrize(("body", "status", "code", "says"), BODIES)
def test_a_malformed_body_is_refused(
    client: FlaskClient, script: Script, body: t.Any, status: int, code: str, says: str
) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = client.post("/ai/chat", data=data, content_type="application/json")
    assert fault_of(response) == (status, code)
    assert says in response.get_json()["error"]["message"]
    assert script.requests == []


NESTED = 600
HOSTILE: dict[str, bytes] = {
    "NaN": b'{"prompt": "Hi", "a": NaN}',
    "infinity": b'{"prompt": "Hi", "a": -Infinity}',
    "infinite number": b'{"prompt": "Hi", "a": 1e999}',
    "nested NaN": b'{"prompt": "Hi", "a": ' + b"[" * NESTED + b"NaN" + b"]" * NESTED + b"}",
    "deep lists": b'{"prompt": "Hi", "a": ' + b"[" * 960 + b"]" * 960 + b"}",
    "deep objects": b'{"prompt": "Hi", "a": ' + b'{"a":' * 200 + b"1" + b"}" * 200 + b"}",
    "deeper than Python": b"[" * 200_000,
    "many empty objects": b'{"prompt": "Hi", "a": [' + b"{}," * 100_000 + b"{}]}",
    "many strings": b'{"prompt": "Hi", "a": [' + b'"",' * 250_000 + b'""]}',
    "quotes that are never closed": b'{"a": "' + b'\\"' * 500_000 + b"[" * 200 + b"\\",
    "another encoding": '{"prompt": "Hi"}'.encode("utf-16"),
    "a huge integer": b'{"prompt": "Hi", "a": ' + b"9" * 5000 + b"}",
    "many large integers": b'{"a": [' + (b"9" * 310 + b",") * 3000 + b"-1]}",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("route", ["", "/ai-sdk", "/ag-ui", "/text"])
def test_a_hostile_body_is_a_client_error(
    client: FlaskClient, script: Script, data: bytes, route: str
) -> None:
    response = client.post(f"/ai/chat{route}", data=data, content_type="application/json")
    assert response.status_code == 400
    assert script.requests == []


def test_brackets_and_commas_in_a_prompt_count_as_text(client: FlaskClient, script: Script) -> None:
    prompt = '[{,"' * 200_000
    assert client.post("/ai/chat", json={"prompt": prompt}).status_code == 200
    assert script.requests[0].prompt == prompt


@pytest.mark.parametrize("text", ["[", '\\"', "\\\\", "a, b", "{}"], ids=repr)
def test_the_shape_of_four_megabytes_is_checked_in_a_blink(text: str) -> None:
    body = '{"prompt": "' + text * (4_000_000 // len(text)) + "[" * 200 + '"}'

    def seconds() -> float:
        begun = time.process_time()
        json_body.check_shape(body, 100, 100_000)
        return time.process_time() - begun

    assert min(seconds() for _ in range(3)) < 0.15


@pytest.mark.parametrize("escape", [b"%41", b"%41a", b"%ff", b"%"], ids=bytes.decode)
def test_a_form_of_escapes_costs_what_it_weighs(client: FlaskClient, escape: bytes) -> None:
    data = b"prompt=" + escape * (1_000_000 // len(escape))
    tracemalloc.start()
    try:
        response = client.post("/ai/chat/html", data=data, content_type=URLENCODED)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert response.status_code < 500
    assert peak < 12 * len(data)


ODD_VALUES: list[t.Any] = [{}, [], 7, None, True, "", "\ud800", [{}], [None], {"a": {}}]


@pytest.mark.parametrize("route", ["", "/ai-sdk", "/ag-ui", "/html", "/text"])
def test_no_kind_of_value_in_any_field_is_a_server_error(
    client: FlaskClient, script: Script, route: str
) -> None:
    part = {"type": "tool-a", "toolCallId": "c", "state": "output-available", "output": 1}
    message = {"id": "1", "role": "assistant", "content": "a", "parts": [part]}
    bodies = [
        body
        for odd in ODD_VALUES
        for body in (
            odd,
            {"prompt": odd},
            {"id": odd, "prompt": "a"},
            {"threadId": odd, "prompt": "a"},
            {"messages": odd},
            *({"messages": [{**message, name: odd}]} for name in message),
            *({"messages": [{**message, "parts": [{**part, name: odd}]}]} for name in part),
        )
    ]
    statuses = [client.post(f"/ai/chat{route}", json=body).status_code for body in bodies]
    assert [body for body, status in zip(bodies, statuses, strict=True) if status >= 500] == []


def test_a_path_with_control_characters_is_logged_escaped(
    ai: AIStream, client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    ai.identify(lambda: 1.5)  # type: ignore[type-var]
    ai.provider(name="chat")(Script("a"))
    assert client.post("/ai/runs/x%0a[CRITICAL]%1b[31m/stop").status_code == 500
    assert "\\n[CRITICAL]\\x1b[31m" in caplog.records[0].getMessage()
    assert "\x1b" not in caplog.records[0].getMessage()


@pytest.mark.parametrize(
    ("field", "value"),
    [("state", {}), ("toolCallId", 7), ("toolName", []), ("approval", [True])],
)
def test_a_tool_part_with_a_field_of_another_type_is_refused(
    client: FlaskClient, script: Script, field: str, value: t.Any
) -> None:
    part = {"type": "tool-a", "toolCallId": "c", "state": "output-available", "output": 1}
    messages = [
        {"id": "1", "role": "user", "parts": [{"type": "text", "text": "Hi"}]},
        {"id": "2", "role": "assistant", "parts": [{**part, field: value}]},
    ]
    response = client.post("/ai/chat/ai-sdk", json={"messages": messages})
    assert response.status_code == 422
    assert f"`{field}` is not" in response.text
    assert script.requests == []


ID = "abcdefghijklmnopqrstuv"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/ai/runs/{ID}"),
        ("POST", f"/ai/runs/{ID}/stop"),
        ("GET", f"/ai/v1/responses/{ID}"),
        ("GET", f"/ai/chat/ai-sdk/{ID}/stream"),
        ("GET", f"/ai/chats/{ID}"),
    ],
)
def test_a_request_that_fails_is_logged_with_the_first_characters_of_its_id(
    ai: AIStream, client: FlaskClient, caplog: pytest.LogCaptureFixture, method: str, path: str
) -> None:
    ai.identify(lambda: 1.5)  # type: ignore[type-var]
    ai.provider(name="chat")(Script("a"))
    assert client.open(path, method=method).status_code == 500
    assert "abcdefgh…" in caplog.records[0].getMessage()
    assert ID not in caplog.text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/ai/chat"),
        ("GET", "/ai/runs/unknown"),
        ("GET", "/ai/v1/models"),
        ("POST", "/ai/chat/ai-sdk/a-chat-nobody-guesses/stop"),
        ("GET", "/ai/chat/ai-sdk/a-chat-nobody-guesses/stream"),
        ("GET", "/ai/health"),
        ("GET", "/ai/no/such/path"),
    ],
)
def test_no_answer_may_be_stored(
    client: FlaskClient, script: Script, method: str, path: str
) -> None:
    with client.open(path, method=method, json={"prompt": "Hi"}) as response:
        assert "no-store" in response.headers["Cache-Control"]


QUERIES = [
    ("", 422, "prompt_missing"),
    ("?messages=Hi", 422, "messages_invalid"),
    ("?prompt=Hi&last_event_id=r/1", 400, "cursor_invalid"),
    ("?prompt=Hi&last_event_id=r:1", 404, "run_not_found"),
    ("?prompt=Hi&request_id=a%20b", 400, "key_invalid"),
]


@pytest.mark.parametrize(("query", "status", "code"), QUERIES)
def test_a_malformed_query_is_refused(
    client: FlaskClient, script: Script, query: str, status: int, code: str
) -> None:
    assert fault_of(client.get(f"/ai/chat{query}")) == (status, code)
    assert script.requests == []


HEADERS = [
    ({"Last-Event-ID": "7"}, 400, "cursor_invalid"),
    ({"Last-Event-ID": "a:b"}, 400, "cursor_invalid"),
    ({"Last-Event-ID": "é:1"}, 400, "cursor_invalid"),
    ({"Last-Event-ID": "x" * 10_000}, 400, "cursor_invalid"),
    ({"Last-Event-ID": "unknown:1"}, 404, "run_not_found"),
    ({"Idempotency-Key": "a b"}, 400, "key_invalid"),
    ({"Idempotency-Key": "x" * 256}, 400, "key_invalid"),
]


@pytest.mark.parametrize(("headers", "status", "code"), HEADERS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_malformed_header_is_refused(
    client: FlaskClient,
    script: Script,
    headers: dict[str, str],
    status: int,
    code: str,
    method: str,
) -> None:
    asked: dict[str, t.Any] = {"json": {"prompt": "Hi"}} if method == "POST" else {}
    response = client.open("/ai/chat?prompt=Hi", method=method, headers=headers, **asked)
    assert fault_of(response) == (status, code)
    assert script.requests == []


PATHS = [
    ("GET", "/ai/nobody?prompt=Hi", 404, "provider_not_found"),
    ("POST", "/ai/nobody", 404, "provider_not_found"),
    ("HEAD", "/ai/nobody", 404, ""),
    ("GET", "/ai/runs/unknown", 404, "run_not_found"),
    ("GET", "/ai/runs/unknown/events", 404, "run_not_found"),
    ("POST", "/ai/runs/unknown/stop", 404, "run_not_found"),
    ("PUT", "/ai/chat", 405, "method_not_allowed"),
    ("DELETE", "/ai/runs/unknown", 405, "method_not_allowed"),
    ("POST", "/ai/runs/unknown/events", 405, "method_not_allowed"),
    ("GET", "/ai/runs/unknown/nonsense", 404, "not_found"),
    ("GET", "/ai/no/such/path/at/all", 404, "not_found"),
    ("GET", "/ai/", 404, "not_found"),
    ("GET", "/ai/static/secret.py", 404, "not_found"),
    ("GET", "/ai/static/../web/config.py", 404, "not_found"),
]


@pytest.mark.parametrize(("method", "path", "status", "code"), PATHS)
def test_an_unknown_path_or_method_is_answered_as_json(
    client: FlaskClient, script: Script, method: str, path: str, status: int, code: str
) -> None:
    response = client.open(path, method=method)
    assert response.status_code == status
    if method != "HEAD":
        assert fault_of(response) == (status, code)
    assert script.requests == []


def test_a_wrong_method_lists_the_allowed_ones(client: FlaskClient, script: Script) -> None:
    response = client.put("/ai/chat")
    assert set(response.allow) >= {"GET", "POST"}
    assert response.get_json()["error"]["message"].endswith(
        "Allowed: DELETE, GET, HEAD, OPTIONS, POST."
    )


def test_the_error_of_an_unknown_provider_lists_no_others(
    client: FlaskClient, script: Script
) -> None:
    message = client.get("/ai/nobody").get_json()["error"]["message"]
    assert message == "There is no provider 'nobody' here."


def test_the_applications_own_paths_keep_its_errors(client: FlaskClient, script: Script) -> None:
    assert client.get("/aix/chat").mimetype == "text/html"
    assert client.get("/elsewhere").mimetype == "text/html"


SIZES: list[t.Any] = [
    pytest.param("max_body_bytes", 100, {"prompt": "x" * 100}, 413, "body_too_large", id="body"),
    pytest.param(
        "max_messages", 2, {"messages": [USER] * 3}, 422, "too_many_messages", id="messages"
    ),
    pytest.param(
        "max_messages",
        2,
        {"messages": [USER] * 2, "prompt": "Hi"},
        422,
        "too_many_messages",
        id="messages and prompt",
    ),
    pytest.param(
        "max_prompt_characters", 10, {"prompt": "x" * 11}, 422, "prompt_too_long", id="prompt"
    ),
    pytest.param(
        "max_prompt_characters",
        10,
        {"messages": [USER] * 6},
        422,
        "prompt_too_long",
        id="all messages together",
    ),
    pytest.param(
        "max_prompt_characters",
        10,
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x" * 11}]}]},
        422,
        "prompt_too_long",
        id="parts",
    ),
]


@pytest.mark.parametrize(("setting", "most", "body", "status", "code"), SIZES)
def test_a_request_over_a_limit_is_refused_naming_the_limit(
    make_app: MakeApp,
    script: Script,
    setting: str,
    most: int,
    body: dict[str, t.Any],
    status: int,
    code: str,
) -> None:
    response = make_app(**{setting: most}).test_client().post("/ai/chat", json=body)
    assert fault_of(response) == (status, code)
    assert str(most) in response.get_json()["error"]["message"]
    assert script.requests == []


def test_limits_can_be_switched_off(make_app: MakeApp, script: Script) -> None:
    app = make_app(max_body_bytes=None, max_messages=None, max_prompt_characters=None)
    body = {"messages": [USER] * 1001, "prompt": "x" * 5_000_000}
    assert StreamClient(app).read("/ai/chat", json=body).text == "a"


def test_a_request_at_the_limit_is_accepted(make_app: MakeApp, script: Script) -> None:
    body = json.dumps({"prompt": "Hi"}).encode()
    app = make_app(max_body_bytes=len(body), max_messages=1, max_prompt_characters=2)
    assert StreamClient(app).read("/ai/chat", data=body, method="POST").text == "a"


ODD_BUT_FINE: list[dict[str, t.Any]] = [
    {"prompt": ""},
    {"prompt": "\ud83d \0 \u2028"},
    {"prompt": "Hi", "messages": None},
    {"prompt": None, "messages": [USER]},
    {"prompt": "Hi", "messages": []},
    {"messages": [{"role": "assistant", "content": None}, USER]},
    {"prompt": "Hi", "request_id": ""},
    {"prompt": "Hi", "last_event_id": ""},
]


@pytest.mark.parametrize("body", ODD_BUT_FINE, ids=repr)
def test_an_unusual_but_valid_request_reaches_the_provider(
    streams: StreamClient, script: Script, body: dict[str, t.Any]
) -> None:
    assert streams.read("/ai/chat", data=json.dumps(body), method="POST").text == "a"
    assert len(script.requests) == 1
