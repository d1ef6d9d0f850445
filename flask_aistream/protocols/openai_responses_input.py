"""Input items of a Responses request → chat messages."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from flask_aistream.core.request import Message
from flask_aistream.errors import RequestError
from flask_aistream.protocols.messages import Part
from flask_aistream.protocols.messages import check_content
from flask_aistream.protocols.messages import openai_call
from flask_aistream.protocols.messages import role_of

Json = dict[str, t.Any]

ROLES = ("system", "developer", "user", "assistant")


def read_input(items: str | list[t.Any]) -> list[Message]:
    """Input items as chat messages. Items without an equivalent stay in the body."""
    if isinstance(items, str):
        return [Message(role="user", content=items)]
    messages: list[Message] = []
    for index, item in enumerate(items):
        if not isinstance(item, dict) or not isinstance(item.get("type", "message"), str):
            raise wrong(index, "must be an object with a `type`, or with `role` and `content`")
        READERS.get(item.get("type", "message"), skip)(item, index, messages)
    return messages


def read_message(item: Json, index: int, messages: list[Message]) -> None:
    role = role_of(item, index, ROLES)
    content = item.get("content")
    check_content(content, role, index)
    messages.append({"role": role, "content": chat_content(content)})


def read_call(item: Json, index: int, messages: list[Message]) -> None:
    id, name, arguments = (item.get(key) for key in ("call_id", "name", "arguments"))
    if not (isinstance(id, str) and isinstance(name, str) and isinstance(arguments, str)):
        raise wrong(index, "must have `call_id`, `name` and `arguments`, all strings")
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": None})
    messages[-1].setdefault("tool_calls", []).append(openai_call(id, name, arguments))


def read_output(item: Json, index: int, messages: list[Message]) -> None:
    output = item.get("output")
    if not isinstance(item.get("call_id"), str) or not isinstance(output, (str, list)):
        raise wrong(index, "must have a `call_id` and an `output`")
    check_content(output, "tool", index)
    messages.append(
        {"role": "tool", "tool_call_id": item["call_id"], "content": chat_content(output)}
    )


def skip(item: Json, index: int, messages: list[Message]) -> None:
    pass


READERS: Mapping[str, t.Callable[[Json, int, list[Message]], None]] = {
    "message": read_message,
    "function_call": read_call,
    "function_call_output": read_output,
}


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
