"""The routes of every protocol, through Flask's test client."""

from __future__ import annotations

import json
import time
import typing as t
from collections.abc import Iterator

import pytest
from flask import Flask
from flask import render_template_string
from flask.testing import FlaskClient

from flask_aistream import AIStream
from flask_aistream import ChatRequest
from flask_aistream import Finished
from flask_aistream import ProviderError
from flask_aistream import SourceUrl
from flask_aistream import ToolCall
from flask_aistream.core import events as ev
from flask_aistream.protocols.table import PROTOCOLS

Client = FlaskClient

SAID: dict[str, dict[str, t.Any]] = {
    "native": {"prompt": "you"},
    "ai-sdk": {"messages": [{"role": "user", "parts": [{"type": "text", "text": "you"}]}]},
    "openai-chat": {
        "model": "say",
        "stream": True,
        "messages": [{"role": "user", "content": "you"}],
    },
    "openai-responses": {"model": "say", "stream": True, "input": "you"},
    "ag-ui": {
        "threadId": "t",
        "runId": "u",
        "messages": [{"id": "1", "role": "user", "content": "you"}],
    },
    "html": {"prompt": "you"},
    "text": {"prompt": "you"},
}
NAMES = list(PROTOCOLS)


def application() -> Flask:
    ai = AIStream()

    @ai.provider
    def say(request: ChatRequest) -> Iterator[str]:
        yield "Hello "
        yield request.prompt

    @ai.provider
    def refuse(request: ChatRequest) -> Iterator[str]:
        raise ProviderError("too_much", "Not <now>.", status=418)

    @ai.provider
    def fail(request: ChatRequest) -> Iterator[str]:
        raise ProviderError("too_much", "Not now.", status=request.params["status"])

    @ai.provider
    def half(request: ChatRequest) -> Iterator[str]:
        yield "half"
        raise ProviderError("too_much", "Not now.", status=request.params.get("status", 418))

    @ai.provider
    def slow(request: ChatRequest) -> Iterator[str]:
        yield "Well,"
        for _ in range(1000):
            time.sleep(0.01)
            yield ""

    @ai.provider(text_only=True)
    def blind(request: ChatRequest) -> str:
        return "text"

    @ai.provider
    def call(request: ChatRequest) -> Iterator[t.Any]:
        yield ToolCall("c1", "ask", {})
        yield Finished("tool-calls")

    @ai.provider
    def cite(request: ChatRequest) -> SourceUrl:
        return SourceUrl("s1", "https://example.org", "A <page>")

    @ai.html
    def fragment(event: ev.Event) -> str | None:
        if isinstance(event, SourceUrl):
            return render_template_string("<q>{{ title }}</q>", title=event.title)
        return None

    app = Flask(__name__)
    app.register_blueprint(ai, url_prefix="/ai")
    return app


@pytest.fixture
def client() -> Client:
    return application().test_client()


def url(name: str, provider: str = "say") -> str:
    return "/ai" + PROTOCOLS[name].path.replace("<provider>", provider)


def body(name: str, provider: str = "say", **more: t.Any) -> dict[str, t.Any]:
    model = {"model": provider} if "model" in SAID[name] else {}
    return {**SAID[name], **model, **more}


@pytest.mark.parametrize("name", NAMES)
def test_every_protocol_has_a_route(client: Client, name: str) -> None:
    answer = client.post(url(name), json=body(name))
    assert answer.status_code == 200
    assert answer.content_type == PROTOCOLS[name].content_type
    assert "Hello " in answer.text
    assert "you" in answer.text
    assert answer.headers["AIStream-Run"]
    for header, value in PROTOCOLS[name].headers.items():
        assert answer.headers[header] == value


@pytest.mark.parametrize("name", NAMES)
def test_a_run_started_in_one_protocol_is_read_in_every_other(client: Client, name: str) -> None:
    run = client.post(url(name), json=body(name)).headers["AIStream-Run"]
    for other, protocol in PROTOCOLS.items():
        answer = client.get(f"/ai/runs/{run}/{other}")
        assert answer.status_code == 200
        assert answer.content_type == protocol.content_type
        assert "Hello " in answer.text
    assert client.get(f"/ai/runs/{run}/klingon").status_code == 404


@pytest.mark.parametrize("name", NAMES)
def test_a_failure_before_the_first_byte_is_an_http_error_of_the_protocol(
    client: Client, name: str
) -> None:
    answer = client.post(url(name, "refuse"), json=body(name, "refuse"))
    # LangChain JS repeats a request after 418.
    assert answer.status_code == (400 if name.startswith("openai") else 418)
    assert answer.content_type == PROTOCOLS[name].error_type
    assert answer.text == PROTOCOLS[name].error(
        "too_much", "Not <now>.", 418, answer.headers["X-Request-ID"]
    )


FAULTS = [
    pytest.param({"data": b"{"}, 400, id="no JSON"),
    pytest.param({"json": [1]}, 400, id="no object"),
    pytest.param(
        {"json": {"messages": 1, "input": 1, "prompt": 1, "model": "say"}}, None, id="wrong types"
    ),
    pytest.param({"data": b" " * 5_000_000}, 413, id="too large"),
]


@pytest.mark.parametrize(("sent", "status"), FAULTS)
@pytest.mark.parametrize("name", NAMES)
def test_a_malformed_body_is_rejected_in_the_format_of_the_protocol(
    client: Client, name: str, sent: dict[str, t.Any], status: int | None
) -> None:
    answer = client.post(url(name), **sent)
    assert answer.status_code == status or (status is None and answer.status_code in (400, 422))
    assert answer.content_type == PROTOCOLS[name].error_type
    if answer.is_json:
        error = answer.get_json()["error"]
        assert error["code"]
        assert error["message"]
    else:
        assert answer.text


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_provider_is_404_in_the_format_of_the_protocol(
    client: Client, name: str
) -> None:
    answer = client.post(url(name, "nobody"), json=body(name, "nobody"))
    assert answer.status_code == 404
    assert answer.content_type == PROTOCOLS[name].error_type
    assert "nobody" in answer.text


@pytest.mark.parametrize("name", [name for name in NAMES if "GET" not in PROTOCOLS[name].methods])
def test_a_wrong_method_is_405_in_the_format_of_the_protocol(client: Client, name: str) -> None:
    answer = client.get(url(name))
    assert answer.status_code == 405
    assert answer.content_type == PROTOCOLS[name].error_type


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
UI_PICTURE = {"type": "file", "mediaType": "image/png", "url": "data:image/png;base64,AA"}
PICTURES: dict[str, dict[str, t.Any]] = {
    "native": {"messages": [{"role": "user", "content": [PICTURE]}]},
    "ai-sdk": {"messages": [{"role": "user", "parts": [UI_PICTURE]}]},
    "openai-chat": {"messages": [{"role": "user", "content": [PICTURE]}]},
    "openai-responses": {
        "input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]}]
    },
    "ag-ui": {
        "messages": [
            {
                "id": "1",
                "role": "user",
                "content": [
                    {
                        "type": "image",
                        "source": {"type": "data", "value": "AA", "mimeType": "image/png"},
                    }
                ],
            }
        ]
    },
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_text_only_provider_rejects_an_image(client: Client, name: str) -> None:
    answer = client.post(url(name, "blind"), json={"model": "blind", **PICTURES[name]})
    assert answer.status_code == 422
    assert "takes only text" in answer.text
    assert client.post(url(name), json={"model": "say", **PICTURES[name]}).status_code == 200


def test_incomplete_plain_text_ends_with_an_aborted_connection(client: Client) -> None:
    with pytest.raises(ConnectionResetError):
        _ = client.post(url("text", "half"), json={"prompt": "you"}).text
    assert client.post(url("ai-sdk", "half"), json=SAID["ai-sdk"]).status_code == 200


@pytest.mark.parametrize("name", ["openai-chat", "openai-responses"])
def test_openai_errors_say_whether_to_retry(client: Client, name: str) -> None:
    answer = client.post(url(name, "refuse"), json=body(name, "refuse"))
    assert answer.headers["x-should-retry"] == "false"
    whole = client.post(url(name), json=body(name, stream=False))
    assert whole.headers["x-request-id"] == whole.headers["AIStream-Run"]


NO_RETRY = {400, 401, 402, 403, 404, 405, 406, 407}
"""Statuses that neither OpenAI's SDKs nor the AI SDK (408, 409, 429, 5xx) nor LangChain JS retry (any but these and 409)."""


@pytest.mark.parametrize("status", [401, 404, 408, 409, 418, 422, 429, 500, 502, 503, 504])
@pytest.mark.parametrize(("provider", "stream"), [("fail", True), ("fail", False), ("half", False)])
@pytest.mark.parametrize("name", ["openai-chat", "openai-responses"])
def test_no_client_repeats_a_request_whose_provider_was_called(
    client: Client, name: str, provider: str, stream: bool, status: int
) -> None:
    sent = body(name, provider, stream=stream, status=status)
    answer = client.post(url(name, provider), json=sent)
    assert answer.status_code == (status if status in NO_RETRY else 400)
    assert answer.headers["x-should-retry"] == "false"
    error = answer.get_json()["error"]
    assert (error["code"], error["message"]) == ("too_much", "Not now.")
    assert error["type"] == ERROR_TYPES.get(
        status, "invalid_request_error" if status < 500 else "server_error"
    )


ERROR_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


def test_html_accepts_forms_queries_and_render_callbacks(client: Client) -> None:
    form = client.post("/ai/say/html", data={"prompt": "form"})
    assert "data: form\n" in form.text
    query = client.get("/ai/say/html?prompt=query")
    assert "data: query\n" in query.text
    assert "data: <q>A &lt;page&gt;</q>\n" in client.get("/ai/cite/html?prompt=x").text


def test_html_resumed_at_its_end_gets_the_last_record_again(client: Client) -> None:
    # htmx reconnects after 204, forever.
    run = client.get("/ai/say/html?prompt=x").headers["AIStream-Run"]
    answer = client.get("/ai/say/html?prompt=x", headers={"Last-Event-ID": f"{run}:3"})
    assert answer.status_code == 200
    assert answer.text.endswith(f"id: {run}:3\nevent: done\ndata: stop\n\n")
    assert "Hello" not in answer.text


def test_use_object_may_submit_a_string(client: Client) -> None:
    assert client.post("/ai/say/text", json="bare").text == "Hello bare"


def chat_of(
    client: Client, provider: str = "say", chat: str = "c/1 of sixteen or more", **more: t.Any
) -> str:
    return client.post(f"/ai/{provider}/ai-sdk", json={"id": chat, **SAID["ai-sdk"], **more}).text


def test_a_chat_read_to_its_end_has_nothing_to_resume(client: Client) -> None:
    path = "/ai/say/ai-sdk/c%2F1 of sixteen or more/stream"
    fresh = client.get(path)
    assert (fresh.status_code, "Content-Type" in fresh.headers) == (204, False)
    chat_of(client)
    assert client.get(path).status_code == 204


def test_a_chat_not_read_to_its_end_is_replayed_from_its_start(client: Client) -> None:
    chat = "a-chat/nobody-guesses"
    started = client.post("/ai/say/ai-sdk", json={"id": chat, **SAID["ai-sdk"]}, buffered=False)
    started.close()
    again = client.get(f"/ai/say/ai-sdk/{chat}/stream")
    assert again.status_code == 200
    assert again.text.startswith('data: {"type":"start","messageId":"msg_')
    assert again.text.endswith("data: [DONE]\n\n")
    assert client.get(f"/ai/say/ai-sdk/{chat}/stream").status_code == 204


def test_a_run_that_extends_a_message_keeps_its_id(client: Client) -> None:
    messages = [*SAID["ai-sdk"]["messages"], {"id": "m9", "role": "assistant", "parts": []}]
    assert '{"type":"start","messageId":"m9"}' in chat_of(client, messages=messages)


def test_a_chat_belongs_to_its_provider(client: Client) -> None:
    chat = "a-chat-nobody-guesses"
    chat_of(client, chat=chat)
    assert client.post(f"/ai/refuse/ai-sdk/{chat}/stop").json == {"run": None, "stopped": False}
    assert client.get(f"/ai/nobody/ai-sdk/{chat}/stream").status_code == 404


def test_the_query_selects_a_newer_chunk_set(client: Client) -> None:
    assert client.post("/ai/say/ai-sdk?version=7", json=SAID["ai-sdk"]).status_code == 200
    refused = client.post("/ai/say/ai-sdk?version=4", json=SAID["ai-sdk"])
    assert (refused.status_code, refused.content_type) == (422, "text/plain; charset=utf-8")


def test_responses_are_retrieved_as_json_and_as_a_stream(client: Client) -> None:
    whole = client.post("/ai/v1/responses", json=body("openai-responses", stream=False)).json
    assert whole is not None
    one = f"/ai/v1/responses/{whole['id']}"
    assert client.get(one).json == whole
    frames = client.get(f"{one}?stream=true&starting_after=7").text
    assert json.loads(frames.split("data: ")[1].split("\n")[0])["sequence_number"] == 8
    assert client.get(f"{one}?stream=true&starting_after=x").status_code == 400
    assert client.get("/ai/v1/responses/resp_nothing").status_code == 404
    assert client.get("/ai/v1/responses/nothing").status_code == 404
    assert client.post(f"{one}/cancel").json == whole


def test_a_retrieved_response_repeats_the_fields_of_its_request(client: Client) -> None:
    sent: t.Any = {"instructions": "Be brief.", "metadata": {"k": "v"}, "temperature": 0.5}
    created = client.post(
        "/ai/v1/responses", json=body("openai-responses", stream=False, **sent)
    ).get_json()
    retrieved = client.get(f"/ai/v1/responses/{created['id']}").get_json()
    for response in (created, retrieved):
        assert {name: response[name] for name in sent} == sent


def test_a_response_with_store_false_cannot_be_retrieved(client: Client) -> None:
    sent = body("openai-responses", stream=False, store=False)
    created = client.post("/ai/v1/responses", json=sent).get_json()
    assert created["store"] is False
    missing = client.get(f"/ai/v1/responses/{created['id']}")
    assert (missing.status_code, missing.get_json()["error"]["code"]) == (404, "response_not_found")


def test_a_deleted_response_does_not_exist(client: Client) -> None:
    created = client.post("/ai/v1/responses", json=body("openai-responses", stream=False))
    path = f"/ai/v1/responses/{created.get_json()['id']}"
    deleted = {"id": created.get_json()["id"], "object": "response", "deleted": True}
    assert client.delete(path).get_json() == deleted
    run = created.headers["AIStream-Run"]
    for missing in (client.delete(path), client.get(path), client.get(f"/ai/runs/{run}")):
        assert missing.status_code == 404
    assert client.delete("/ai/v1/responses/resp_nothing").status_code == 404


def test_a_live_response_is_stopped_when_it_is_deleted(client: Client) -> None:
    sent = body("openai-responses", "slow", background=True, stream=False)
    response = client.post("/ai/v1/responses", json=sent).get_json()
    assert response["status"] == "in_progress"
    assert client.delete(f"/ai/v1/responses/{response['id']}").status_code == 200
    assert client.get(f"/ai/v1/responses/{response['id']}").status_code == 404


def test_compaction_is_not_offered(client: Client) -> None:
    answer = client.post("/ai/v1/responses/compact", json=body("openai-responses"))
    assert answer.status_code == 404
    assert answer.get_json()["error"]["type"] == "not_found_error"
    assert "compact" in answer.get_json()["error"]["message"]


FORMS = [
    pytest.param({}, {"stream": False}, id="text"),
    pytest.param({"stream": "false", "temperature": "0.5"}, {"temperature": 0.5}, id="numbers"),
    pytest.param(
        {"metadata[k]": "v", "metadata[l]": "2"}, {"metadata": {"k": "v", "l": "2"}}, id="keys"
    ),
    pytest.param({"metadata": '{"k":"v"}'}, {"metadata": {"k": "v"}}, id="JSON"),
    pytest.param(
        {"instructions": "{}", "user": "7"},
        {"instructions": "{}", "user": "7"},
        id="text like JSON",
    ),
    pytest.param(
        {"tools": '[{"type":"web_search"}]', "tool_choice": "none"},
        {"tools": [{"type": "web_search"}], "tool_choice": "none"},
        id="either type",
    ),
]


@pytest.mark.parametrize(("sent", "wanted"), FORMS)
def test_a_response_may_be_requested_by_a_form(
    client: Client, sent: dict[str, str], wanted: dict[str, t.Any]
) -> None:
    answer = client.post("/ai/v1/responses", data={"model": "say", "input": "you", **sent})
    response = answer.get_json()
    assert response["output"][0]["content"][0]["text"] == "Hello you"
    assert {name: response[name] for name in wanted if name != "stream"} == {
        name: value for name, value in wanted.items() if name != "stream"
    }


def test_a_form_may_have_input_items_and_ask_for_a_stream(client: Client) -> None:
    items = json.dumps([{"role": "user", "content": "items"}])
    sent = {"model": "say", "input": items, "stream": "true", "include[]": ["a", "b"]}
    answer = client.post("/ai/v1/responses", data=sent)
    assert answer.content_type.startswith("text/event-stream")
    assert '"text":"Hello items"' in answer.text


@pytest.mark.parametrize("field", [{"temperature": "hot"}, {"tools": "[" * 999}, {"stream": "yes"}])
def test_a_form_with_a_wrong_type_is_refused(client: Client, field: dict[str, str]) -> None:
    answer = client.post("/ai/v1/responses", data={"model": "say", "input": "you", **field})
    assert (answer.status_code, answer.get_json()["error"]["param"]) == (400, next(iter(field)))


UNSUPPORTED = [
    ("openai-chat", {"n": 2}),
    ("openai-chat", {"n": True}),
    ("openai-chat", {"logprobs": True}),
    ("openai-chat", {"top_logprobs": 3}),
    ("openai-chat", {"modalities": ["text", "audio"]}),
    ("openai-chat", {"audio": {"voice": "alloy"}}),
    ("openai-chat", {"store": True}),
    ("openai-chat", {"stream_options": {"include_usage": True}, "stream": False}),
    ("openai-responses", {"background": True, "store": False}),
    ("openai-responses", {"metadata": "x"}),
    ("openai-responses", {"model": None}),
    ("openai-chat", {"model": "nobody"}),
]


@pytest.mark.parametrize(("name", "fields"), UNSUPPORTED, ids=str)
def test_a_field_that_cannot_be_honored_is_refused_by_its_name(
    client: Client, name: str, fields: dict[str, t.Any]
) -> None:
    answer = client.post(url(name), json={**body(name), **fields})
    assert answer.status_code == (404 if fields.get("model") else 400)
    error = answer.get_json()["error"]
    assert error["param"] == next(iter(fields))
    assert error["message"].endswith(".")


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 1},
        {"n": None},
        {"logprobs": False},
        {"top_logprobs": 0},
        {"modalities": ["text"]},
        {"store": False},
    ],
    ids=str,
)
def test_a_field_that_asks_for_nothing_special_is_accepted(
    client: Client, fields: dict[str, t.Any]
) -> None:
    assert client.post(url("openai-chat"), json=body("openai-chat", **fields)).status_code == 200


@pytest.mark.parametrize("field", ["tools", "context", "threadId", "runId", "parentRunId"])
def test_a_field_of_ag_ui_with_a_wrong_type_is_refused(client: Client, field: str) -> None:
    answer = client.post(url("ag-ui"), json={**body("ag-ui"), field: {"a": 1}})
    assert answer.status_code == 422
    assert f"`{field}`" in answer.get_json()["error"]["message"]


def test_an_ag_ui_run_names_its_parent(client: Client) -> None:
    answer = client.post(url("ag-ui"), json=body("ag-ui", parentRunId="p1"))
    assert '"parentRunId":"p1"' in answer.text.partition("\n")[0]


@pytest.mark.parametrize("name", NAMES)
def test_an_error_lists_no_other_provider(client: Client, name: str) -> None:
    answer = client.post(url(name, "nobody"), json=body(name, "nobody"))
    assert answer.status_code == 404
    assert "blind" not in answer.text


def test_a_completed_response_has_its_times(client: Client) -> None:
    for stream in (False, True):
        sent = body("openai-responses", stream=stream)
        run = client.post("/ai/v1/responses", json=sent).headers["AIStream-Run"]
        response = client.get(f"/ai/v1/responses/resp_{run}").get_json()
        assert response["created_at"] <= response["completed_at"] <= time.time()
    failed = body("openai-responses", "half", stream=True)
    run = client.post("/ai/v1/responses", json=failed).headers["AIStream-Run"]
    assert client.get(f"/ai/v1/responses/resp_{run}").get_json()["completed_at"] is None


def test_an_unknown_path_below_v1_is_an_openai_error(client: Client) -> None:
    answer = client.post("/ai/v1/embeddings", json={})
    assert answer.status_code == 404
    assert answer.json is not None
    assert answer.json["error"]["type"] == "not_found_error"
    assert client.get("/ai/v1/models/nobody").json["error"]["code"] == "model_not_found"  # type: ignore[index]


def test_a_preflight_allows_the_headers_of_sdks(client: Client) -> None:
    asked = {
        "Origin": "https://example.org",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,x-stainless-lang,hx-request",
    }
    answer = client.options("/ai/v1/chat/completions", headers=asked)
    allowed = answer.headers["Access-Control-Allow-Headers"].lower()
    for name in ("authorization", "x-stainless-lang", "hx-request", "last-event-id"):
        assert name in allowed
