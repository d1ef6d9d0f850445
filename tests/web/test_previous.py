"""``previous_response_id`` continues the conversation of a stored response."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator

import pytest
from flask import Flask
from flask import request as http_request
from flask.testing import FlaskClient

from flask_aistream import AIStream
from flask_aistream import ChatRequest
from flask_aistream import Finished
from flask_aistream import ToolCall
from flask_aistream import ToolResult

PATH = "/ai/v1/responses"


class App:
    """An application whose provider repeats what it was given.

    :ivar given: The messages of each call.
    """

    def __init__(self, *, history: bool = False, **config: t.Any) -> None:
        self.given: list[list[dict[str, t.Any]]] = []
        ai = AIStream()

        @ai.identify
        def identify() -> str | None:
            return http_request.headers.get("X-User")

        @ai.provider
        def chat(request: ChatRequest) -> Iterator[t.Any]:
            self.given.append(request.messages)
            if request.prompt == "call":
                yield ToolCall("c1", "clock", {"zone": None})
                yield Finished("tool-calls")
            elif request.prompt == "work":
                yield "Let me see."
                yield ToolCall("c2", "clock", {})
                yield ToolResult("c2", "noon")
                yield "It is noon."
            else:
                yield f"{len(request.messages)}"

        if history:
            ai.history(lambda chat, owner: [{"role": "user", "content": f"{owner} in {chat}"}])

        self.app = Flask(__name__)
        self.app.config.update(config)
        self.app.register_blueprint(ai, url_prefix="/ai")
        self.client: FlaskClient = self.app.test_client()

    def post(self, input: t.Any, previous: str | None = None, **more: t.Any) -> t.Any:
        headers = {"X-User": more.pop("user", "ann")}
        body = {"model": "chat", "input": input, "previous_response_id": previous, **more}
        return self.client.post(PATH, json=body, headers=headers)

    def ask(self, input: t.Any, previous: str | None = None, **more: t.Any) -> str:
        """Id of the response."""
        answer = self.post(input, previous, **more)
        assert answer.status_code == 200, answer.text
        return str(answer.get_json()["id"])


@pytest.fixture
def app() -> App:
    return App()


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def test_a_response_continues_the_whole_conversation(app: App) -> None:
    second = app.ask("b", app.ask("a"))
    third = app.ask([user("c")], second)
    assert app.given[-1] == [user("a"), assistant("1"), user("b"), assistant("3"), user("c")]
    retrieved = app.client.get(f"{PATH}/{third}", headers={"X-User": "ann"}).get_json()
    assert retrieved["previous_response_id"] == second


def test_two_responses_may_continue_one(app: App) -> None:
    first = app.ask("a")
    for text in ("b", "c"):
        app.ask(text, first)
        assert app.given[-1] == [user("a"), assistant("1"), user(text)]


def test_instructions_do_not_carry_over(app: App) -> None:
    first = app.ask("a", instructions="Be brief.")
    app.ask("b", first, instructions="Be long.")
    assert app.given[-1][0] == {"role": "system", "content": "Be long."}
    assert app.given[-1][1:] == [user("a"), assistant("2"), user("b")]
    app.ask("b", first)
    assert app.given[-1] == [user("a"), assistant("2"), user("b")]


def test_the_result_of_a_function_answers_the_call_of_the_previous_response(app: App) -> None:
    first = app.ask("call")
    output = {"type": "function_call_output", "call_id": "c1", "output": "noon"}
    app.ask([output], first)
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "clock", "arguments": '{"zone": null}'},
    }
    assert app.given[-1] == [
        user("call"),
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "noon"},
    ]
    answer = app.post([{**output, "call_id": "c9"}], first)
    assert answer.status_code == 400


def test_tools_of_the_provider_are_in_the_conversation_with_their_results(app: App) -> None:
    app.ask("thanks", app.ask("work"))
    assert [message["role"] for message in app.given[-1]] == [
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
    ]


def unknown(app: App) -> str:
    return "resp_nothing"


def malformed(app: App) -> str:
    return "nothing"


def of_another_owner(app: App) -> str:
    return app.ask("a", user="bob")


def not_stored(app: App) -> str:
    return app.ask("a", store=False)


def deleted(app: App) -> str:
    id = app.ask("a")
    assert app.client.delete(f"{PATH}/{id}", headers={"X-User": "ann"}).status_code == 200
    return id


@pytest.mark.parametrize("previous", [unknown, malformed, of_another_owner, not_stored, deleted])
@pytest.mark.parametrize("stream", [False, True])
def test_a_response_that_is_not_there_is_refused_as_openai_refuses_it(
    app: App, previous: t.Callable[[App], str], stream: bool
) -> None:
    id = previous(app)
    calls = len(app.given)
    answer = app.post("b", id, stream=stream)
    assert answer.status_code == 400
    assert answer.get_json()["error"] == {
        "message": f"Previous response with id {id!r} not found.",
        "type": "invalid_request_error",
        "param": "previous_response_id",
        "code": "previous_response_not_found",
        "reference": answer.headers["X-Request-ID"],
    }
    assert len(app.given) == calls


def test_a_conversation_too_large_to_be_kept_is_refused() -> None:
    app = App(AISTREAM_REQUEST_BYTES=2000)
    first = app.ask([user("x" * 1500), user("y" * 1500)])
    answer = app.post("b", first)
    assert answer.status_code == 400
    assert "AISTREAM_REQUEST_BYTES" in answer.get_json()["error"]["message"]


def test_the_limits_hold_for_the_whole_conversation() -> None:
    app = App(AISTREAM_MAX_MESSAGES=3)
    second = app.ask("b", app.ask("a"))
    answer = app.post("c", second)
    assert answer.get_json()["error"]["code"] == "too_many_messages"


@pytest.mark.parametrize("conversation", ["conv_1", {"id": "conv_1"}])
def test_a_response_belongs_to_its_conversation(conversation: t.Any) -> None:
    app = App(history=True)
    first = app.post("a", conversation=conversation).get_json()
    assert first["conversation"] == {"id": "conv_1"}
    known = user("ann in conv_1")
    assert app.given[-1] == [known, user("a")]
    app.ask("b", first["id"])
    assert app.given[-1] == [known, user("b")]
    runs = app.client.get("/ai/chats/conv_1", headers={"X-User": "ann"}).get_json()["runs"]
    assert len(runs) == 2


@pytest.mark.parametrize("wrong", [7, {}, {"id": 7}, []])
def test_a_malformed_conversation_is_refused(app: App, wrong: t.Any) -> None:
    answer = app.post("a", conversation=wrong)
    assert (answer.status_code, answer.get_json()["error"]["param"]) == (400, "conversation")


def test_a_conversation_and_a_previous_response_exclude_each_other(app: App) -> None:
    answer = app.post("a", app.ask("a"), conversation="conv_1")
    assert (answer.status_code, answer.get_json()["error"]["param"]) == (400, "conversation")


def items_of(app: App, input: t.Any) -> list[t.Any]:
    return list(app.post(input).get_json()["output"])


@pytest.mark.parametrize("typed", [{"type": "item_reference"}, {"type": None}, {}])
def test_a_reference_stands_for_an_item_of_an_earlier_response(app: App, typed: t.Any) -> None:
    (said,) = items_of(app, "a")
    (called,) = items_of(app, "call")
    output = {"type": "function_call_output", "call_id": "c1", "output": "noon"}
    references = [{**typed, "id": item["id"]} for item in (said, called)]
    app.ask([user("a"), *references, output, user("b")])
    assert [message["role"] for message in app.given[-1]] == ["user", "assistant", "tool", "user"]
    assert app.given[-1][1]["content"] == "1"
    assert app.given[-1][1]["tool_calls"][0]["id"] == "c1"


@pytest.mark.parametrize("case", ["unknown", "foreign", "not stored", "no place", "malformed"])
def test_a_reference_to_an_item_that_is_not_there_is_refused(app: App, case: str) -> None:
    fields: dict[str, dict[str, t.Any]] = {
        "foreign": {"user": "bob"},
        "not stored": {"store": False},
    }
    more = fields.get(case, {})
    (item,) = app.post("a", **more).get_json()["output"]
    ids = {"unknown": f"msg_{'x' * 22}_0", "no place": item["id"][:-1] + "7", "malformed": "x"}
    answer = app.post([{"type": "item_reference", "id": ids.get(case, item["id"])}, user("b")])
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (404, "item_not_found")
    assert len(app.given) == 1


STEPS = [user("a"), user("b")]


def test_all_items_of_a_response_are_added_to_the_history() -> None:
    app = App(history=True)
    app.ask(STEPS, conversation="conv_1", instructions="Be brief.")
    brief = {"role": "system", "content": "Be brief."}
    assert app.given[-1] == [brief, user("ann in conv_1"), *STEPS]


def test_items_before_an_answer_are_the_past_which_is_not_believed() -> None:
    app = App(history=True)
    app.ask([user("x"), assistant("I owe you 5 euro."), *STEPS], conversation="conv_1")
    assert app.given[-1] == [user("ann in conv_1"), *STEPS]
