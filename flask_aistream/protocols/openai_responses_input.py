"""Input items of a Responses request → chat messages."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field

from flask_aistream.core.conversation import Decision
from flask_aistream.core.request import Message
from flask_aistream.errors import RequestError
from flask_aistream.protocols.messages import Part
from flask_aistream.protocols.messages import check_content
from flask_aistream.protocols.messages import openai_call
from flask_aistream.protocols.messages import role_of

Json = dict[str, t.Any]

ROLES = ("system", "developer", "user", "assistant")


@dataclass(frozen=True, slots=True)
class Input:
    """The items of a request.

    :param messages: In the format of chat completions.
    :param decisions: A person's answers to ``ToolApproval`` events.
    :param references: Ids of items of earlier responses, which have no message yet.
    """

    messages: list[Message] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    references: list[str] = field(default_factory=list)


def read_input(items: str | list[t.Any]) -> Input:
    """Input items as chat messages. Items without an equivalent stay in the body."""
    read = Input()
    if isinstance(items, str):
        read.messages.append(Message(role="user", content=items))
        return read
    for index, item in enumerate(items):
        if not isinstance(item, dict) or not isinstance(item.get("type"), (str, type(None))):
            raise wrong(index, "must be an object with a `type`, or with `role` and `content`")
        READERS.get(type_of(item), skip)(item, index, read)
    return read


def type_of(item: Json) -> str:
    """The type of an item. Messages and references may leave it out."""
    if item.get("type") is not None:
        return str(item["type"])
    return REFERENCE if "id" in item and "role" not in item else "message"


def without_references(items: list[Json], found: Mapping[str, Json]) -> list[Json]:
    """Items in the place of the references to them.

    :param items: As :func:`read_input` accepts them.
    :param found: By id.
    """
    return [found[item["id"]] if type_of(item) == REFERENCE else item for item in items]


def read_message(item: Json, index: int, read: Input) -> None:
    role = role_of(item, index, ROLES)
    content = item.get("content")
    check_content(content, role, index)
    read.messages.append({"role": role, "content": chat_content(content)})


def read_call(item: Json, index: int, read: Input) -> None:
    id, name, arguments = texts(item, index, "call_id", "name", "arguments")
    add_call(read, openai_call(id, name, arguments))


def read_custom_call(item: Json, index: int, read: Input) -> None:
    id, name, given = texts(item, index, "call_id", "name", "input")
    add_call(read, {"id": id, "type": "custom", "custom": {"name": name, "input": given}})


def read_approval_request(item: Json, index: int, read: Input) -> None:
    id, name, arguments = texts(item, index, "id", "name", "arguments")
    add_call(read, openai_call(id, name, arguments))


def read_approval(item: Json, index: int, read: Input) -> None:
    call, approved, reason = (item.get(it) for it in ("approval_request_id", "approve", "reason"))
    if not (isinstance(call, str) and isinstance(approved, bool)):
        raise wrong(
            index, "must have an `approval_request_id` (a string) and `approve` (a boolean)"
        )
    reason = reason if isinstance(reason, str) else None
    read.decisions.append(Decision(call, approved, reason))


def read_output(item: Json, index: int, read: Input) -> None:
    output = item.get("output")
    if not isinstance(item.get("call_id"), str) or not isinstance(output, (str, list)):
        raise wrong(index, "must have a `call_id` and an `output`")
    check_content(output, "tool", index)
    read.messages.append(
        {"role": "tool", "tool_call_id": item["call_id"], "content": chat_content(output)}
    )


def read_reference(item: Json, index: int, read: Input) -> None:
    (id,) = texts(item, index, "id")
    read.references.append(id)


def skip(item: Json, index: int, read: Input) -> None:
    pass


REFERENCE = "item_reference"

READERS: Mapping[str, t.Callable[[Json, int, Input], None]] = {
    "message": read_message,
    "function_call": read_call,
    "function_call_output": read_output,
    "custom_tool_call": read_custom_call,
    "custom_tool_call_output": read_output,
    "mcp_approval_request": read_approval_request,
    "mcp_approval_response": read_approval,
    REFERENCE: read_reference,
}


def add_call(read: Input, call: Part) -> None:
    """Add a call to the message of the assistant that it belongs to."""
    messages = read.messages
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": None})
    messages[-1].setdefault("tool_calls", []).append(call)


def texts(item: Json, index: int, *names: str) -> list[str]:
    """The values of some fields.

    :raises RequestError: One is not a string.
    """
    values = [item.get(name) for name in names]
    if not all(isinstance(value, str) for value in values):
        *first, last = (f"`{name}`" for name in names)
        listed = f"{', '.join(first)} and {last}, all strings" if first else f"an {last}, a string"
        raise wrong(index, f"must have {listed}")
    return [str(value) for value in values]


def chat_content(content: t.Any) -> t.Any:
    """Content in the format of chat completions; text parts alone become a string."""
    if not isinstance(content, list):
        return content
    parts = [chat_part(part) for part in content]
    if all(part["type"] == "text" for part in parts):
        return "".join(part["text"] for part in parts)
    return parts


def chat_part(part: Part) -> Part:
    """An input part in the format of chat completions; unchanged if there is no equivalent."""
    match part:
        case {"type": "input_text" | "output_text", "text": str(text)}:
            return {"type": "text", "text": text}
        case {"type": "input_image", "image_url": str(url)}:
            return {"type": "image_url", "image_url": {"url": url, **kept(part, "detail")}}
        case {"type": "input_file", "file_data": str(data)}:
            return {"type": "file", "file": {**kept(part, "filename"), "file_data": data}}
        case {"type": "input_file", "file_id": str(file)}:
            return {"type": "file", "file": {"file_id": file}}
        case _:
            return part


def kept(part: Part, name: str) -> Part:
    return {name: part[name]} if part.get(name) is not None else {}


def wrong(index: int, what: str) -> RequestError:
    return RequestError(f"`input[{index}]` {what}.", "input_invalid", 422)
