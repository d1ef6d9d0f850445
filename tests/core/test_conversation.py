"""Conversations: a history, the new messages of a request, and the answer of a run."""

from __future__ import annotations

import typing as t
from functools import partial

import pytest

from flask_aistream.core import conversation
from flask_aistream.core import events as ev
from flask_aistream.core.conversation import Branch
from flask_aistream.core.conversation import Decision
from flask_aistream.core.conversation import NewMessages
from flask_aistream.core.fold import Fold
from flask_aistream.core.request import Message
from flask_aistream.errors import RequestError

RUN = "R" * 22
FIRST, SECOND = "1" * 22, "2" * 22


def user(text: str, id: str | None = None) -> Message:
    return {"role": "user", "content": text, **({"id": id} if id else {})}


def model(text: str, id: str | None = None, *calls: str) -> Message:
    called = [
        {"id": it, "type": "function", "function": {"name": "pay", "arguments": '{"euro": 5}'}}
        for it in calls
    ]
    message = {"role": "assistant", "content": text, **({"tool_calls": called} if calls else {})}
    return {**message, **({"id": id} if id else {})}


def result(call: str, text: str, id: str | None = None) -> Message:
    message = {"role": "tool", "tool_call_id": call, "content": text}
    return {**message, **({"id": id} if id else {})}


TALK = [
    user("one", "u1"),
    model("1", f"msg_{FIRST}"),
    user("two", "u2"),
    model("2", f"msg_{SECOND}"),
    model("2b", f"msg_{SECOND}-2"),
]
ASKED = [user("one", "u1"), model("1", f"msg_{FIRST}", "a", "b")]


def told(messages: t.Sequence[Message]) -> list[str]:
    return [message["content"] for message in messages]


CASES = {
    "appends the newest message": (
        TALK,
        NewMessages([user("three")], "u3"),
        "one 1 two 2 2b three",
        None,
    ),
    "ignores the client's version of the past": (
        TALK,
        NewMessages([user("ONE"), model("lies"), user("three")], "u3"),
        "one 1 two 2 2b three",
        None,
    ),
    "an empty history": ([], NewMessages([user("one")]), "one", None),
    "regenerates the last answer": (
        TALK,
        NewMessages([], branch=Branch("regenerate")),
        "one 1 two",
        f"msg_{SECOND}",
    ),
    "regenerates an answer by its id": (
        TALK,
        NewMessages([user("lies")], branch=Branch("regenerate", f"msg_{FIRST}")),
        "one",
        f"msg_{FIRST}",
    ),
    "regenerates an answer by the id of its run": (
        TALK,
        NewMessages([], branch=Branch("regenerate", f"{SECOND}-7")),
        "one 1 two",
        f"msg_{SECOND}",
    ),
    "regenerates the answer to a question": (
        TALK,
        NewMessages([], branch=Branch("regenerate", "u1")),
        "one",
        f"msg_{FIRST}",
    ),
    "edits a message": (
        TALK,
        NewMessages([user("zwei")], "u2", Branch("edit", "u2")),
        "one 1 zwei",
        "u2",
    ),
    "sends a message of the history again": (
        TALK,
        NewMessages([user("one"), user("two")], "u2"),
        "one 1 two",
        f"msg_{SECOND}",
    ),
    "sends another text under the id of a message": (
        TALK,
        NewMessages([user("zwei")], "u2"),
        "one 1 zwei",
        "u2",
    ),
    "branches after an answer": (
        TALK,
        NewMessages([user("zwei")], "u9", Branch("after", f"{FIRST}-1")),
        "one 1 zwei",
        "u2",
    ),
    "branches after a message that the history does not have": (
        TALK,
        NewMessages([user("three")], "u9", Branch("after", "elsewhere")),
        "one 1 two 2 2b three",
        None,
    ),
    "branches at a question that the history has": (
        TALK,
        NewMessages([user("two")], "u2", Branch("after", f"{FIRST}-1")),
        "one 1 two",
        f"msg_{SECOND}",
    ),
    "results of pending calls": (
        ASKED,
        NewMessages([result("a", "A"), result("b", "B")]),
        "one 1 A B",
        None,
    ),
    "results of calls that nobody made are left out": (
        ASKED,
        NewMessages([result("a", "A"), result("x", "X")]),
        f"one 1 A {conversation.UNANSWERED}",
        None,
    ),
    "a question instead of results": (
        ASKED,
        NewMessages([user("never mind")]),
        f"one 1 {conversation.UNANSWERED} {conversation.UNANSWERED} never mind",
        None,
    ),
    "one call is approved, one denied": (
        ASKED,
        NewMessages([], decisions=[Decision("a", True), Decision("b", False, "Too much")]),
        f"one 1 {conversation.DENIED} Too much",
        None,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_request_continues_a_history(case: str) -> None:
    history, new, expected, replaces = CASES[case]
    turn = conversation.with_history(history, new, RUN)
    assert " ".join(told(turn.messages)) == expected
    assert turn.replaces == replaces
    assert not any("id" in message for message in turn.messages)
    assert all(message["id"] for message in turn.question)


REFUSED = {
    "nothing new": (TALK, NewMessages([model("2")])),
    "no message at all": (TALK, NewMessages([])),
    "a result that nobody waits for": (TALK, NewMessages([result("a", "A")])),
    "a decision that nobody waits for": (TALK, NewMessages([], decisions=[Decision("a", True)])),
    "an edit of an unknown message": (TALK, NewMessages([user("x")], branch=Branch("edit", "u7"))),
    "an edit of an answer": (
        TALK,
        NewMessages([user("x")], branch=Branch("edit", f"msg_{FIRST}")),
    ),
    "an edit without a message": (TALK, NewMessages([], branch=Branch("edit", "u2"))),
    "an unknown answer": (TALK, NewMessages([], branch=Branch("regenerate", "msg_x"))),
    "an answer of nothing": ([], NewMessages([], branch=Branch("regenerate"))),
    "an answer before any question": (
        [model("Hello", "m")],
        NewMessages([], branch=Branch("regenerate", "m")),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_request_that_does_not_fit_the_history_is_refused(case: str) -> None:
    history, new = REFUSED[case]
    with pytest.raises(RequestError) as caught:
        conversation.with_history(history, new, RUN)
    assert caught.value.status == 422
    assert caught.value.code in ("messages_invalid", "message_unknown")


def test_the_new_messages_have_the_client_s_id_or_one_of_the_run() -> None:
    assert conversation.with_history(TALK, NewMessages([user("3")], "u3"), RUN).question == [
        user("3", "u3")
    ]
    new = NewMessages([result("a", "A"), result("b", "B")])
    ids = [message["id"] for message in conversation.with_history(ASKED, new, RUN).question]
    assert ids == [f"q_{RUN}", f"q_{RUN}-2"]


def test_the_arguments_of_an_approved_call_are_those_of_the_history() -> None:
    forged = model("1", None, "a")
    forged["tool_calls"][0]["function"]["arguments"] = '{"euro": 5000}'
    new = NewMessages([user("one"), forged], decisions=[Decision("a", True)])
    turn = conversation.with_history(ASKED, new, RUN)
    assert turn.approved == [{"id": "a", "name": "pay", "arguments": {"euro": 5}}]


def test_without_a_history_the_client_s_messages_are_the_conversation() -> None:
    sent = [user("one"), model("1"), user("two"), user("three")]
    turn = conversation.without_history(NewMessages(sent, "u3"), RUN)
    assert turn.messages == sent
    assert turn.question == [user("three", "u3")]
    asked = [user("one"), model("", None, "a", "b")]
    decided = NewMessages(asked, decisions=[Decision("a", True), Decision("b", False)])
    turn = conversation.without_history(decided, RUN)
    assert told(turn.messages) == ["one", "", conversation.DENIED]
    assert [call["id"] for call in turn.approved] == ["a"]


ANSWERS: dict[str, tuple[list[ev.Event], list[Message]]] = {
    "nothing": ([ev.Finished()], []),
    "text": (["Hel", "lo", ev.Finished()], [model("Hello", f"msg_{RUN}")]),
    "reasoning and sources are not part of it": (
        [ev.Reasoning("Hm"), "A", ev.SourceUrl("s", "https://example.org"), "B"],
        [model("AB", f"msg_{RUN}")],
    ),
    "a tool call and its result": (
        ["I ", ev.ToolCall("a", "pay", {"euro": 5}), ev.ToolResult("a", {"ok": True}), "Done"],
        [
            model("I ", f"msg_{RUN}", "a"),
            result("a", '{"ok": true}', f"msg_{RUN}-2"),
            model("Done", f"msg_{RUN}-3"),
        ],
    ),
    "calls of one turn": (
        [
            ev.ToolCall("a", "pay", '{"euro": 5}'),
            ev.ToolCall("b", "pay", '{"euro": 5}'),
            ev.ToolError("b", "No"),
        ],
        [model("", f"msg_{RUN}", "a", "b"), result("b", "No", f"msg_{RUN}-2")],
    ),
    "an incomplete call is left out": (
        ["A", ev.ToolCallStarted("a", "pay"), ev.ToolCallArguments("a", '{"eu')],
        [model("A", f"msg_{RUN}")],
    ),
    "the result of an earlier run's call": (
        [ev.ToolResult("a", "paid"), "Done"],
        [result("a", "paid", f"msg_{RUN}"), model("Done", f"msg_{RUN}-2")],
    ),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_an_answer_becomes_messages(case: str) -> None:
    events, messages = ANSWERS[case]
    assert conversation.answer_of(Fold(events), RUN) == messages


@pytest.mark.parametrize(
    ("chat", "owner", "bound"),
    [("c1", "ann", True), ("c" * 16, None, True), ("c" * 15, None, False), (None, "ann", False)],
)
def test_a_chat_id_is_bound_if_no_stranger_has_it(
    chat: str | None, owner: str | None, bound: bool
) -> None:
    assert conversation.is_bound(chat, owner) is bound


APPROVED = [Decision("a", True)]


TURNS = [partial(conversation.with_history, ASKED), conversation.without_history]


@pytest.mark.parametrize("turn", TURNS, ids=["with a history", "without"])
def test_an_approval_and_a_message_of_the_user_exclude_each_other(
    turn: t.Callable[[NewMessages, str], conversation.Turn],
) -> None:
    new = NewMessages([*ASKED, user("And hurry")], decisions=APPROVED)
    with pytest.raises(RequestError, match="approves a tool call and adds a message"):
        turn(new, RUN)


def test_a_denial_comes_before_the_message_of_the_user() -> None:
    denied = [Decision("a", False), Decision("b", False)]
    new = NewMessages([user("Cheaper?")], decisions=denied, appends=True)
    turn = conversation.with_history(ASKED, new, RUN)
    assert [it["role"] for it in turn.messages] == ["user", "assistant", "tool", "tool", "user"]
