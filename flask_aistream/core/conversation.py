"""A conversation: its history, the new messages of a request, and the answer of a run. Pure.

The application keeps the history. A request adds new messages to it, or branches off at a message that it names by
id. The answer of run ``R`` has the message id ``msg_R``; protocols may add ``-1``, ``-2`` … to the run's id.
"""

from __future__ import annotations

import json
import re
import typing as t
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace

from flask_aistream.core.fold import Fold
from flask_aistream.core.fold import Part
from flask_aistream.core.request import Message
from flask_aistream.core.request import text_of
from flask_aistream.errors import RequestError

UNGUESSABLE = 16
"""Characters of a name that counts as random. ``useChat`` generates 16."""

ANSWER_ID = re.compile(r"(?:msg_)?([A-Za-z0-9_-]{22})(?:-[0-9]+)?")

NOT_ANSWERS = ("system", "developer", "user", "tool")
"""Roles of the messages that a client may add to a conversation."""

UNANSWERED = "This call was not answered."
DENIED = "The user denied this call."


@dataclass(frozen=True, slots=True)
class Branch:
    """Where a request leaves the history.

    :param kind: ``regenerate``: answer the question before ``message`` again; ``edit``: replace ``message`` and all
        that follows by the new message; ``after``: append the new message after ``message``, if the history has it.
    :param message: A message id; ``None``: the last answer.
    """

    kind: t.Literal["regenerate", "edit", "after"]
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """A person's answer to a ``ToolApproval``.

    :param call: Id of the tool call.
    """

    call: str
    approved: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class NewMessages:
    """The part of a conversation that a request adds.

    :param messages: As the client sent them, in OpenAI's chat format. With a history, only the newest counts.
    :param id: Client's id of the newest message; ``None``: it has none.
    :param instructions: For this request alone: they come first, and are no part of the conversation.
    :param appends: All messages after the last one of the assistant are new.
    """

    messages: Sequence[Message]
    id: str | None = None
    branch: Branch | None = None
    decisions: Sequence[Decision] = ()
    instructions: Sequence[Message] = ()
    appends: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """A request within its conversation.

    :param messages: The whole conversation for the provider, without ids.
    :param question: The new messages, with ids, for the application to store.
    :param replaces: Id of the first message of the history that the request replaces, with all that follow;
        ``None``: it appends.
    :param approved: The tool calls that a person has approved: ``id``, ``name``, ``arguments``.
    """

    messages: list[Message]
    question: list[Message]
    replaces: str | None = None
    approved: list[dict[str, t.Any]] = field(default_factory=list)


def is_bound(chat: str | None, owner: str | None) -> bool:
    """Whether a chat id names one conversation: that of a named owner, or one that cannot be guessed."""
    return chat is not None and (owner is not None or len(chat) >= UNGUESSABLE)


def without_history(new: NewMessages, run: str) -> Turn:
    """The turn of a request whose own messages are the conversation."""
    messages = [*new.instructions, *new.messages]
    approved: list[dict[str, t.Any]] = []
    if new.decisions:
        messages += denials(messages, new.decisions)
        approved = approvals(messages, new.decisions)
        check_approvals(messages, approved)
    closed = close_calls(messages, approved) if new.decisions else messages
    return Turn(closed, question_of(messages, run, new.id), approved=approved)


def question_of(messages: Sequence[Message], run: str, id: str | None) -> list[Message]:
    """The new messages of a request without a history, with ids: its last results of tools, or its last message.

    :param id: Client's id of the newest message.
    """
    last = messages[-1] if messages else {}
    if last.get("role") == "user":  # Nearly always.
        return [{**last, "id": question_id(run, 1) if id is None else id}]
    return with_ids(trailing(messages, ("tool",)), run, id)


def with_history(history: Sequence[Message], new: NewMessages, run: str) -> Turn:
    """The turn of a request that continues a history. Of the client's messages, only the newest is used.

    :param history: In OpenAI's chat format, with ids where the application has them.
    :raises RequestError: The request adds nothing, or names a message that the history does not have.
    """
    new = replace(new, branch=new.branch or named_branch(history, new))
    end = cut(history, new)
    kept = list(history[:end])
    again = is_regeneration(history, new)
    added = [] if again else newest(kept, new)
    approved = approvals(kept, new.decisions)
    if not (added or approved or again):
        raise RequestError(
            "The request adds nothing to the conversation: its last message must be one of the user, or the result "
            "of a tool call that waits for one.",
            "messages_invalid",
            422,
        )
    check_approvals(added, approved)
    return Turn(
        [
            *new.instructions,
            *(without_id(message) for message in close_calls([*kept, *added], approved)),
        ],
        with_ids(added, run, new.id),
        history[end].get("id") if end < len(history) else None,
        approved,
    )


def named_branch(history: Sequence[Message], new: NewMessages) -> Branch | None:
    """The branch of a request whose newest message has the id of one in the history: an edit, or the same again."""
    for message in history:
        if new.id is not None and message.get("role") == "user" and message.get("id") == new.id:
            same = text_of(message.get("content")) == text_of(new.messages[-1].get("content"))
            return Branch("regenerate" if same else "edit", new.id)
    return None


def answer_of(fold: Fold, run: str) -> list[Message]:
    """The text and the tool calls of an answer, with ids, in OpenAI's chat format; empty if it has neither."""
    messages = [message for turn in turns(fold.to_json()["parts"]) for message in from_turn(turn)]
    return [
        {"id": f"msg_{run}" + (f"-{number}" if number > 1 else ""), **message}
        for number, message in enumerate(messages, 1)
    ]


def cut(history: Sequence[Message], new: NewMessages) -> int:
    """Number of messages of the history that the request keeps."""
    branch = new.branch
    if branch is None:
        return len(history)
    if is_regeneration(history, new):
        return before_answer(
            history, branch if branch.kind == "regenerate" else Branch("after", new.id)
        )
    if branch.kind == "edit":
        place = place_of(history, branch.message)
        if history[place].get("role") != "user":
            raise unknown_message(
                branch.message, "is not a message of the user, which an edit replaces"
            )
        return place
    same = [n for n, message in enumerate(history) if is_same(message.get("id"), branch.message)]
    return same[-1] + 1 if same else len(history)


def is_regeneration(history: Sequence[Message], new: NewMessages) -> bool:
    if new.branch is None or new.branch.kind == "edit":
        return False
    return new.branch.kind == "regenerate" or any(
        is_same(message.get("id"), new.id) for message in history
    )


def before_answer(history: Sequence[Message], branch: Branch) -> int:
    """Number of messages up to the question that a message answers, or is."""
    place = len(history) - 1 if branch.message is None else place_of(history, branch.message)
    while place >= 0 and history[place].get("role") != "user":
        place -= 1
    if place < 0:
        raise unknown_message(branch.message, "answers no message of the user")
    return place + 1


def place_of(history: Sequence[Message], id: str | None) -> int:
    for place, message in enumerate(history):
        if is_same(message.get("id"), id):
            return place
    raise unknown_message(id, "is not in this conversation")


def is_same(one: t.Any, other: str | None) -> bool:
    return isinstance(one, str) and other is not None and canonical(one) == canonical(other)


def canonical(id: str) -> str:
    """The id of the run whose answer the id names; any other id unchanged."""
    match = ANSWER_ID.fullmatch(id)
    return match[1] if match else id


def unknown_message(id: str | None, what: str) -> RequestError:
    name = "The last message" if id is None else f"The message {id[:100]!r}"
    return RequestError(f"{name} {what}. Load the conversation again.", "message_unknown", 422)


def newest(history: Sequence[Message], new: NewMessages) -> list[Message]:
    """The messages of the client that the history does not have: one of the user, or answers to pending calls."""
    pending = pending_calls(history)
    roles = NOT_ANSWERS if new.appends else ("tool",)
    if not new.appends and new.messages and new.messages[-1].get("role") == "user":
        return [dict(new.messages[-1])]
    added = [
        dict(message)
        for message in trailing(new.messages, roles)
        if message.get("role") != "tool" or message.get("tool_call_id") in pending
    ]
    known = {message.get("tool_call_id") for message in added}
    denied = [it for it in denials(history, new.decisions) if it["tool_call_id"] not in known]
    return denied + added


def trailing(messages: Sequence[Message], roles: Sequence[str]) -> list[Message]:
    start = len(messages)
    while start and messages[start - 1].get("role") in roles:
        start -= 1
    return [dict(message) for message in messages[start:]]


def pending_calls(messages: Sequence[Message]) -> dict[str, t.Any]:
    """The tool calls without a result, by id."""
    calls: dict[str, t.Any] = {}
    for message in messages:
        calls.update({call["id"]: call for call in message.get("tool_calls") or ()})
        calls.pop(message.get("tool_call_id", ""), None)
    return calls


def denials(messages: Sequence[Message], decisions: Sequence[Decision]) -> list[Message]:
    """The results of pending calls that a person has denied."""
    pending = pending_calls(messages)
    return [
        tool_message(it.call, f"{DENIED} {it.reason or ''}".strip())
        for it in decisions
        if not it.approved and it.call in pending
    ]


def approvals(messages: Sequence[Message], decisions: Sequence[Decision]) -> list[dict[str, t.Any]]:
    """The pending calls that a person has approved."""
    pending = pending_calls(messages)
    calls = [pending[it.call] for it in decisions if it.approved and it.call in pending]
    return [{"id": call["id"], **named_arguments(call)} for call in calls]


def check_approvals(messages: Sequence[Message], approved: Sequence[dict[str, t.Any]]) -> None:
    """
    :raises RequestError: A message of the user follows a call that is yet to be executed: models accept no such history.
    """
    if approved and messages and messages[-1].get("role") == "user":
        raise RequestError(
            "The request approves a tool call and adds a message of the user. Send the message once the call has its "
            "result.",
            "messages_invalid",
            422,
        )


def named_arguments(call: dict[str, t.Any]) -> dict[str, t.Any]:
    if custom := call.get("custom"):
        return {"name": custom.get("name"), "arguments": custom.get("input")}
    function = call.get("function") or {}
    arguments = function.get("arguments")
    try:
        arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
    except ValueError:  # The model wrote invalid JSON.
        pass
    return {"name": function.get("name"), "arguments": arguments}


def close_calls(messages: Sequence[Message], approved: Sequence[dict[str, t.Any]]) -> list[Message]:
    """The messages with a result for each call, since models accept no other history; but for approved calls."""
    closed: list[Message] = []
    waiting: dict[str, t.Any] = {}
    for message in messages:
        if message.get("role") != "tool":
            closed += [tool_message(call, UNANSWERED) for call in waiting]
            waiting = pending_calls([message])
        waiting.pop(message.get("tool_call_id", ""), None)
        closed.append(message)
    open_calls = {call["id"] for call in approved}
    return closed + [tool_message(call, UNANSWERED) for call in waiting if call not in open_calls]


def with_ids(messages: Sequence[Message], run: str, id: str | None) -> list[Message]:
    """The new messages with ids: the last one has the client's."""
    last = len(messages)
    return [
        {**message, "id": id if id is not None and number == last else question_id(run, number)}
        for number, message in enumerate(messages, 1)
    ]


def question_id(run: str, number: int) -> str:
    return f"q_{run}-{number}" if number > 1 else f"q_{run}"


def without_id(message: Message) -> Message:
    return {name: value for name, value in message.items() if name != "id"}


def turns(parts: Sequence[Part]) -> Iterator[list[Part]]:
    """Text and tool parts, split where a model was called again: at text after a tool call."""
    turn: list[Part] = []
    for part in parts:
        tool = part["type"] == "tool"
        if not tool and part["type"] != "text":
            continue
        if (
            turn
            and turn[-1]["type"] == "tool"
            and (not tool or ("name" in part) != ("name" in turn[-1]))
        ):
            yield turn
            turn = []
        turn.append(part)
    if turn:
        yield turn


def from_turn(parts: Sequence[Part]) -> Iterator[Message]:
    """One message of the assistant, unless the parts only answer calls of an earlier run, and its tool messages."""
    text = "".join(part["text"] for part in parts if part["type"] == "text")
    tools = [part for part in parts if part["type"] == "tool"]
    calls = [openai_call(part) for part in tools if "arguments" in part]
    if text or calls:
        yield {"role": "assistant", "content": text, **({"tool_calls": calls} if calls else {})}
    for part in tools:
        if "result" in part or "error" in part:
            yield tool_message(part["id"], part["error"] if "error" in part else part["result"])


def openai_call(part: Part) -> dict[str, t.Any]:
    function = {"name": part["name"], "arguments": as_text(part["arguments"])}
    return {"id": part["id"], "type": "function", "function": function}


def tool_message(call: str, result: t.Any) -> Message:
    return {"role": "tool", "tool_call_id": call, "content": as_text(result)}


def as_text(value: t.Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
