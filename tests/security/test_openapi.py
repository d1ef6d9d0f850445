"""The OpenAPI description: complete, and obeyed by the routes whatever is sent to them."""

from __future__ import annotations

import re
import typing as t

import pytest
from flask import Flask
from hypothesis import strategies as st

from flask_aistream import AIStream
from flask_aistream import errors
from flask_aistream.core import events as ev
from flask_aistream.protocols.table import PROTOCOLS
from flask_aistream.testing import Script
from flask_aistream.testing import StreamClient
from flask_aistream.web.openapi import shapes
from flask_aistream.web.openapi.document import METHODS
from flask_aistream.web.openapi.document import STARTS
from flask_aistream.web.openapi.errors import STATUSES
from flask_aistream.web.openapi.operations import OPERATIONS
from flask_aistream.web.responses import status_of
from tests.security.examples import tried

STORY: list[ev.Event] = [
    ev.Reasoning("so"),
    "a",
    ev.ToolCallStarted("c", "tool"),
    ev.ToolCallArguments("c", "{}"),
    ev.ToolCall("c", "tool", {}),
    ev.ToolResult("c", [1, None]),
    ev.ToolError("d", "no"),
    ev.SourceUrl("s", "http://a.test/"),
    ev.SourceDocument("t", "title", "text/plain"),
    ev.File("data:,a", "text/plain"),
    ev.Data("name", {"a": 1}),
    ev.Usage(1, 2),
    "b",
]
"""Every kind of event, which responses have to describe."""


FAILURE = errors.ProviderError("overloaded", "The model failed on purpose.")

HIDDEN = {
    *("client", "client-module", "static"),
    *("doctor-process", "doctor-stream", "doctor-body"),
    *("playground", "playground-file"),
    *("playground-api-choices", "playground-api-runs", "playground-api-stop"),
}
"""Files, routes that do not exist for strangers, and those of a page."""


def described_app() -> Flask:
    app = Flask("described")
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.config["AISTREAM_OPENAPI"] = True
    app.config["AISTREAM_MAX_MESSAGES"] = 5
    app.config["AISTREAM_MAX_PROMPT_CHARACTERS"] = 1000
    app.secret_key = "secret"
    ai = AIStream()
    ai.provider(name="chat")(Script(*STORY))
    ai.provider(name="fails", default_prompt="Hi")(Script("c", FAILURE))
    ai.init_app(app, url_prefix="/ai")
    return app


@pytest.fixture(scope="module")
def app() -> Flask:
    return described_app()


@pytest.fixture(scope="module")
def document(app: Flask) -> dict[str, t.Any]:
    response = app.test_client().get("/ai/openapi.json")
    return t.cast("dict[str, t.Any]", response.get_json())


@pytest.mark.parametrize(
    ("debug", "key", "status"),
    [(False, None, 404), (True, None, 200), (False, True, 200), (True, False, 404)],
)
def test_strangers_get_no_description_of_a_server_in_production(
    debug: bool, key: bool | None, status: int
) -> None:
    app = Flask("app")
    app.debug = debug
    app.config["AISTREAM_OPENAPI"] = key
    AIStream().init_app(app, url_prefix="/ai")
    assert app.test_client().get("/ai/openapi.json").status_code == status


def test_a_caller_that_may_not_list_gets_no_description(ai: AIStream) -> None:
    app = Flask("app")
    app.debug = True
    ai.authorize(actions=("list",))(lambda action, run: False)
    ai.init_app(app, url_prefix="/ai")
    assert app.test_client().get("/ai/openapi.json").status_code == 403


def test_every_route_is_described(app: Flask, document: dict[str, t.Any]) -> None:
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method)
        for rule in app.url_map.iter_rules()
        for method in METHODS
        if method in (rule.methods or ())
        and rule.endpoint.startswith("aistream.")
        and rule.endpoint.removeprefix("aistream.") not in HIDDEN
    }
    described = {
        (path, method.upper()) for path, item in document["paths"].items() for method in item
    }
    assert described == routes


def test_every_row_of_the_tables_is_a_route(app: Flask) -> None:
    endpoints = {rule.endpoint.removeprefix("aistream.") for rule in app.url_map.iter_rules()}
    assert endpoints >= {*OPERATIONS, *STARTS}


def test_every_error_with_a_status_is_in_the_table() -> None:
    def tree(kind: type[errors.AIStreamError]) -> t.Iterator[type[errors.AIStreamError]]:
        yield kind
        for lower in kind.__subclasses__():
            yield from tree(lower)

    made = (kind.__new__(kind) for kind in tree(errors.AIStreamError))
    answered = {type(error) for error in made if status_of(error) is not None}
    # No route appends events.
    assert answered - {errors.LogEnded} <= STATUSES.keys()


def test_providers_and_limits_are_those_of_the_application(document: dict[str, t.Any]) -> None:
    start = document["paths"]["/ai/{provider}"]["post"]
    (provider,) = (it for it in start["parameters"] if it["name"] == "provider")
    assert provider["schema"]["enum"] == ["chat", "fails"]
    body = document["components"]["schemas"]["native-request"]["properties"]
    assert body["messages"]["maxItems"] == 5
    assert body["prompt"]["maxLength"] == 1000


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_describes_its_own_fields(document: dict[str, t.Any], name: str) -> None:
    schema = document["components"]["schemas"][f"{name}-request"]
    assert schema != {"type": "object"}


@pytest.fixture(scope="module")
def known(app: Flask, document: dict[str, t.Any]) -> dict[str, list[str]]:
    """Names that find runs, by parameter."""
    streams = StreamClient(app)
    key = "a-key-that-nobody-guesses"
    runs = [
        streams.read("/ai/chat", json={"prompt": "Hi"}, headers={"Idempotency-Key": key}).run,
        streams.read("/ai/fails", json={"prompt": "Hi"}).run,
    ]
    chat = app.test_client().post("/ai/chat/ai-sdk", json={"prompt": "Hi", "id": key})
    assert all(runs)
    assert chat.data
    return {
        "run_id": runs,
        "response_id": [f"resp_{run}" for run in runs],
        "chat_id": [key],
        "Idempotency-Key": [key],
        "Last-Event-ID": [f"{run}:{number}" for run in runs for number in (0, 1, 99)],
    }


INEXPRESSIBLE = re.compile(
    "has no prompt|answers the tool call|another body|Previous response with id|exclude each other|the last record|"
    "messages, but at most|"
    f"`edit`|JSON: a field|run in the background|{FAILURE}"
)
"""Refusals of valid requests, whose reason no schema can have: one of two fields is required, the prompt is one message
more, a message answers another one, a key or cursor belongs to a run, the provider fails."""


def attempts() -> list[tuple[str, str]]:
    """Each route with requests that are valid, and with some that are not if any are not."""
    paths = described_app().test_client().get("/ai/openapi.json").get_json()["paths"]
    operations = {
        f"{method.upper()} {path}": operation
        for path, item in paths.items()
        for method, operation in item.items()
    }
    return [
        (route, mode)
        for route, operation in operations.items()
        for mode in ("positive", "negative")
        if route != "GET /ai/openapi.json"  # Schemathesis leaves out the description itself.
        and (mode == "positive" or can_be_invalid(operation))
    ]


def can_be_invalid(operation: dict[str, t.Any]) -> bool:
    schemas = [parameter["schema"] for parameter in operation["parameters"]]
    return "requestBody" in operation or any(schema != shapes.TEXT for schema in schemas)


@pytest.fixture(scope="module")
def operations(app: Flask) -> dict[str, t.Any]:
    """Schemathesis' operations. It is imported here, because its import takes longer than the other tests."""
    schemathesis = pytest.importorskip("schemathesis", reason="It needs Python 3.11.")

    found: t.Any = schemathesis.openapi.from_wsgi("/ai/openapi.json", app).get_all_operations()
    return {operation.label: operation for operation in (result.ok() for result in found)}


@pytest.fixture(scope="module")
def checks() -> list[t.Any]:
    from schemathesis.specs.openapi import checks

    return [
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_headers_conformance,
        checks.response_schema_conformance,
    ]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("route", "mode"), attempts())
def test_a_route_answers_as_described(
    known: dict[str, list[str]],
    operations: dict[str, t.Any],
    checks: list[t.Any],
    route: str,
    mode: str,
) -> None:
    from schemathesis.generation import GenerationMode

    requests = operations[route].as_strategy(generation_mode=GenerationMode(mode))

    def attempt(data: st.DataObject) -> None:
        case = data.draw(requests)
        name_runs(case, known, data)
        try:
            response = case.call()
        except ConnectionResetError:  # Plain text that ends early.
            return
        # A provider that fails is not the server that fails.
        case.validate_response(
            response, checks=checks[case.path_parameters.get("provider") == "fails" :]
        )
        if mode == "positive" and response.status_code in (400, 413, 422):
            assert INEXPRESSIBLE.search(response.text), response.text

    tried(1 / 300, st.data())(attempt)()


def name_runs(case: t.Any, known: dict[str, list[str]], data: st.DataObject) -> None:
    """Replace names of a request by those of runs that exist, in half of the requests."""
    for names in (case.path_parameters, case.headers):
        for name in sorted(known.keys() & (names or {}).keys()):
            if data.draw(st.booleans()):
                names[name] = data.draw(st.sampled_from(known[name]))
