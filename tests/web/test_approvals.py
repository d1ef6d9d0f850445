"""``ToolApproval``: a run ends and waits for a person, and the next run of the chat has the decision."""

from __future__ import annotations

import threading
import typing as t
from collections.abc import Iterator

import pytest
from flask import Flask
from flask import request

from flask_aistream import AIStream
from flask_aistream import ChatRequest
from flask_aistream import RunEnded
from flask_aistream import ToolApproval
from flask_aistream import ToolResult
from flask_aistream import run_ended
from flask_aistream.core import events as ev
from flask_aistream.core.request import Message
from flask_aistream.testing import StreamClient
from flask_aistream.web.extension import install
from tests.runs.support import until
from tests.web.conftest import MakeApp

CHAT = "purchase"
PAY = {"euro": 5}


@pytest.fixture(autouse=True)
def asked(ai: AIStream) -> list[ChatRequest]:
    """What the provider ``shop`` was called with. It asks for approval of ``pay``, and executes what was approved."""
    asked: list[ChatRequest] = []

    @ai.provider
    def shop(request: ChatRequest) -> Iterator[t.Any]:
        asked.append(request)
        for call in request.approved:
            yield ToolResult(call["id"], f"paid {call['arguments']['euro']}")
        if request.prompt == "Buy" and request.messages[-1]["role"] == "user":
            yield "May I?"
            yield ToolApproval("c1", "pay", PAY)
        else:
            yield "Done."

    return asked


@pytest.fixture
def kept(app: Flask, ai: AIStream) -> Iterator[list[Message]]:
    """The application's history of one chat."""
    kept: list[Message] = []
    ai.identify(lambda: request.headers.get("User", "ann"))
    ai.history(lambda chat, owner: list(kept))

    def store(sender: Flask, ended: RunEnded) -> None:
        kept.extend([*ended.question, *ended.answer])

    with run_ended.connected_to(store, app):
        yield kept


def ask(app: Flask, path: str = "shop", **body: t.Any) -> t.Any:
    response = app.test_client().post(f"/ai/{path}", json=body, buffered=True)
    assert response.status_code == 200, response.text
    return response


def test_a_run_that_waits_for_a_person_ends_with_tool_calls(app: Flask) -> None:
    stream = StreamClient(app).read("/ai/shop", json={"prompt": "Buy"})
    assert stream.events[1:] == [
        "May I?",
        ToolApproval("c1", "pay", PAY),
        ev.Finished("tool-calls"),
    ]
    message = app.test_client().get(f"/ai/runs/{stream.run}").get_json()
    assert message["parts"][1] == {
        "type": "tool",
        "id": "c1",
        "name": "pay",
        "state": "approval",
        "arguments": PAY,
    }


@pytest.mark.parametrize("finish", ["stop", "length"])
def test_the_reason_is_tool_calls_whatever_the_provider_says(
    app: Flask, ai: AIStream, finish: t.Any
) -> None:
    @ai.provider
    def eager(request: ChatRequest) -> Iterator[t.Any]:
        yield ToolApproval("c1", "pay", PAY)
        yield ev.Finished(finish)

    assert StreamClient(app).read("/ai/eager", json={"prompt": "x"}).outcome == ev.Finished(
        "tool-calls"
    )


Ui = dict[str, t.Any]
BUY: Ui = {"id": "u1", "role": "user", "parts": [{"type": "text", "text": "Buy"}]}
ASKED = {"role": "user", "content": "Buy", "id": "u1"}


def decided(approved: bool, **more: t.Any) -> Ui:
    """The assistant's message of ``useChat`` after ``addToolApprovalResponse``."""
    part = {
        "type": "tool-pay",
        "toolCallId": "c1",
        "state": "approval-responded",
        "input": PAY,
        "approval": {"id": "c1", "approved": approved, **more},
    }
    return {"id": "m1", "role": "assistant", "parts": [{"type": "text", "text": "May I?"}, part]}


CALL = {"id": "c1", "type": "function", "function": {"name": "pay", "arguments": '{"euro":5}'}}
FUNCTION_CALL = {"type": "function_call", "call_id": "c1", "name": "pay", "arguments": '{"euro":5}'}
WORDINGS: dict[str, tuple[str, Ui, t.Callable[[bool], Ui]]] = {
    "openai-responses": (
        "v1/responses",
        {"model": "shop", "input": "Buy", "stream": True, "conversation": CHAT},
        lambda yes: {
            "model": "shop",
            "stream": True,
            "conversation": CHAT,
            "input": [
                {"role": "user", "content": "Buy"},
                FUNCTION_CALL,
                {
                    "type": "mcp_approval_response",
                    "approval_request_id": "c1",
                    "approve": yes,
                    **({} if yes else {"reason": "Too much"}),
                },
            ],
        },
    ),
    "native": (
        "shop",
        {"chat": CHAT, "messages": [ASKED]},
        lambda yes: {
            "chat": CHAT,
            "messages": [ASKED, {"role": "assistant", "content": "May I?", "tool_calls": [CALL]}],
            "approvals": {"c1": yes if yes else {"approved": False, "reason": "Too much"}},
        },
    ),
    "ai-sdk": (
        "shop/ai-sdk?version=7",
        {"id": CHAT, "messages": [BUY], "trigger": "submit-message"},
        lambda yes: {
            "id": CHAT,
            "messages": [BUY, decided(yes, **({} if yes else {"reason": "Too much"}))],
            "trigger": "submit-message",
            "messageId": "m1",
        },
    ),
    "ag-ui": (
        "shop/ag-ui",
        {"threadId": CHAT, "runId": "r1", "messages": [ASKED]},
        lambda yes: {
            "threadId": CHAT,
            "runId": "r2",
            "messages": [
                ASKED,
                {"id": "m1", "role": "assistant", "content": "May I?", "toolCalls": [CALL]},
            ],
            "resume": [
                {
                    "interruptId": "c1",
                    "status": "resolved",
                    "payload": {"approved": yes, **({} if yes else {"reason": "Too much"})},
                }
            ],
        },
    ),
}


@pytest.mark.parametrize("approved", [True, False])
@pytest.mark.parametrize("wording", WORDINGS)
def test_the_decision_starts_the_next_run_of_the_chat(
    app: Flask, asked: list[ChatRequest], wording: str, approved: bool
) -> None:
    path, first, second = WORDINGS[wording]
    ask(app, path, **first)
    text = ask(app, path, **second(approved)).text
    check_decision(asked[-1], approved)
    assert "Done." in text
    if wording != "openai-responses":  # It has no results of tools.
        assert ("paid 5" in text) == approved


@pytest.mark.parametrize("approved", [True, False])
@pytest.mark.parametrize("wording", WORDINGS)
def test_with_a_history_the_call_is_the_stored_one(
    app: Flask, kept: list[Message], asked: list[ChatRequest], wording: str, approved: bool
) -> None:
    path, first, second = WORDINGS[wording]
    ask(app, path, **first)
    until(lambda: len(kept) == 2)
    ask(app, path, **second(approved))
    check_decision(asked[-1], approved)
    until(lambda: len(kept) == 4)
    assert [message["role"] for message in kept] == ["user", "assistant", "tool", "assistant"]


def check_decision(request: ChatRequest, approved: bool) -> None:
    if approved:
        assert request.approved == [{"id": "c1", "name": "pay", "arguments": PAY}]
        assert request.messages[-1]["tool_calls"][0]["id"] == "c1"
    else:
        assert request.approved == []
        denied = request.messages[-1]
        assert (denied["role"], denied["tool_call_id"]) == ("tool", "c1")
        assert "denied" in denied["content"]
        assert "Too much" in denied["content"]


def test_with_a_history_only_the_decision_is_sent(
    app: Flask, kept: list[Message], asked: list[ChatRequest]
) -> None:
    ask(app, chat=CHAT, prompt="Buy")
    until(lambda: len(kept) == 2)
    assert "paid 5" in ask(app, chat=CHAT, approvals={"c1": True}).text
    assert asked[-1].approved == [{"id": "c1", "name": "pay", "arguments": PAY}]


def test_a_decision_counts_once(app: Flask, kept: list[Message], asked: list[ChatRequest]) -> None:
    ask(app, chat=CHAT, prompt="Buy")
    ask(app, chat=CHAT, approvals={"c1": True})
    again = app.test_client().post("/ai/shop", json={"chat": CHAT, "approvals": {"c1": True}})
    assert again.status_code == 422
    assert len(asked) == 2


def test_a_question_instead_of_a_decision_leaves_the_call_unanswered(
    app: Flask, kept: list[Message], asked: list[ChatRequest]
) -> None:
    ask(app, chat=CHAT, prompt="Buy")
    ask(app, chat=CHAT, prompt="Never mind")
    assert asked[-1].approved == []
    assert [message["role"] for message in asked[-1].messages] == [
        "user",
        "assistant",
        "tool",
        "user",
    ]


def test_an_old_page_of_the_ai_sdk_answers_in_the_body(
    app: Flask, asked: list[ChatRequest]
) -> None:
    first = ask(app, "shop/ai-sdk", id=CHAT, messages=[BUY])
    assert '{"type":"data-tool-approval","id":"c1","data":{"toolCallId":"c1"}}' in first.text
    part = {"type": "tool-pay", "toolCallId": "c1", "state": "input-available", "input": PAY}
    waiting = {"id": "m1", "role": "assistant", "parts": [part]}
    ask(app, "shop/ai-sdk", id=CHAT, messages=[BUY, waiting], approvals={"c1": True})
    assert [call["id"] for call in asked[-1].approved] == ["c1"]


def test_clients_of_openai_answer_with_the_result_of_a_call(
    app: Flask, asked: list[ChatRequest]
) -> None:
    body: Ui = {"model": "shop", "messages": [{"role": "user", "content": "Buy"}]}
    (choice,) = ask(app, "v1/chat/completions", **body).get_json()["choices"]
    assert choice["finish_reason"] == "tool_calls"
    call = choice["message"]["tool_calls"][0]
    assert (call["id"], call["function"]["name"]) == ("c1", "pay")
    answered = {"role": "tool", "tool_call_id": "c1", "content": "paid by hand"}
    body["messages"] += [choice["message"], answered]
    answer = ask(app, "v1/chat/completions", **body).get_json()
    assert answer["choices"][0]["message"]["content"] == "Done."
    assert asked[-1].messages[-1]["content"] == "paid by hand"


RESULTS: list[tuple[str, Ui]] = [
    ("shop", {"chat": CHAT, "messages": [{"role": "tool", "tool_call_id": "c1", "content": "7"}]}),
    (
        "shop/ag-ui",
        {
            "threadId": CHAT,
            "runId": "r2",
            "messages": [{"id": "t1", "role": "tool", "toolCallId": "c1", "content": "7"}],
        },
    ),
    (
        "v1/responses",
        {
            "model": "shop",
            "conversation": CHAT,
            "input": [{"type": "function_call_output", "call_id": "c1", "output": "7"}],
        },
    ),
]


@pytest.mark.parametrize(("path", "body"), RESULTS, ids=[path for path, _ in RESULTS])
def test_with_a_history_only_the_result_of_a_tool_is_sent(
    app: Flask, kept: list[Message], asked: list[ChatRequest], path: str, body: Ui
) -> None:
    ask(app, chat=CHAT, prompt="Buy")
    until(lambda: len(kept) == 2)
    ask(app, path, **body)
    assert [it["role"] for it in asked[-1].messages] == ["user", "assistant", "tool"]
    assert asked[-1].messages[-1]["content"] == "7"


@pytest.mark.parametrize(("path", "body"), RESULTS, ids=[path for path, _ in RESULTS])
def test_without_a_history_a_result_that_answers_no_call_is_refused(
    app: Flask, asked: list[ChatRequest], path: str, body: Ui
) -> None:
    response = app.test_client().post(f"/ai/{path}", json=body)
    assert response.status_code in (400, 422)
    assert "answers the tool call 'c1', which no" in response.get_json()["error"]["message"]
    assert not asked


BAD_RESUME: list[t.Any] = [
    "c1",
    [{"status": "resolved", "payload": True}],
    [{"interruptId": "c1", "status": "resolved"}],
    [{"interruptId": "c1", "status": "resolved", "payload": {"approved": "yes"}}],
    ["c1"],
]


@pytest.mark.parametrize("resume", BAD_RESUME)
def test_a_bad_resume_is_refused(app: Flask, resume: t.Any) -> None:
    _, _, second = WORDINGS["ag-ui"]
    body = {**second(True), "resume": resume}
    response = app.test_client().post("/ai/shop/ag-ui", json=body)
    assert response.status_code == 422
    assert response.get_json()["error"]["code"] == "resume_invalid"


def test_a_cancelled_interrupt_is_a_denial(app: Flask, asked: list[ChatRequest]) -> None:
    _, _, second = WORDINGS["ag-ui"]
    ask(
        app,
        "shop/ag-ui",
        **second(True) | {"resume": [{"interruptId": "c1", "status": "cancelled"}]},
    )
    assert asked[-1].approved == []
    assert asked[-1].messages[-1]["role"] == "tool"


MANY = [pytest.mark.nightly, pytest.mark.timeout(600)]


@pytest.mark.parametrize("waiting", [300, pytest.param(10_000, marks=MANY)])
def test_conversations_that_wait_hold_no_thread_and_no_connection(
    make_app: MakeApp, waiting: int
) -> None:
    app = make_app()
    ask(app, chat="c" * 16, prompt="Buy")
    before = threading.active_count()
    for number in range(waiting):
        ask(app, chat=f"{number:016}", prompt="Buy")
    process = install(app).process
    until(lambda: process.runner.count == 0)
    until(lambda: threading.active_count() <= before)
    assert len(process.registry) == 0
    assert ask(app, chat=f"{7:016}", prompt="Never mind").status_code == 200
