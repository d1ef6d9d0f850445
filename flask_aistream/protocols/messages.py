"""Conversations in the shapes clients send → OpenAI's chat shape.

Lenient where a newer client may say more: parts we do not know are kept for the provider. Strict
where nothing sensible could follow: a message is an object with a role.

Sources: OpenAI Chat Completions (``role``, ``content``), AI SDK UI messages (``role``, ``parts``).
"""

from __future__ import annotations

import json
import typing as t

from flask_aistream.core.request import Message
from flask_aistream.errors import RequestError


def read_messages(value: t.Any) -> list[Message]:
    """Messages in either shape, as the client sent them.

    :raises RequestError: ``value`` is not a list of messages; says which one is wrong.
    """
    if not isinstance(value, list):
        raise RequestError(
            f"`messages` is {kind_of(value)} but must be a list of objects with `role` and `content`.",
            "messages_invalid",
            422,
        )
    return [message for place, item in enumerate(value) for message in read_message(item, place)]


def read_message(item: t.Any, place: int) -> list[Message]:
    """One message; a UI message with tool results becomes several."""
    if not isinstance(item, dict) or not isinstance(item.get("role"), str):
        raise wrong(place, 'must be an object with a `role` such as "user"')
    if isinstance(item.get("parts"), list):
        return from_parts(item, place)
    content = item.get("content")
    if not isinstance(content, (str, list, type(None))):
        raise wrong(place, "must have a `content` that is a string or a list of parts")
    check_parts(content, place)
    return [dict(item)]


def from_parts(item: Message, place: int) -> list[Message]:
    """An AI SDK UI message. Text alone becomes a string; tool parts become calls and their results."""
    parts = check_parts(item["parts"], place)
    tools = [part for part in parts if is_tool(part)]
    content = [openai_part(part) for part in parts if not is_tool(part) and part["type"] not in UNSAID]
    message: Message = {"role": item["role"], "content": content}
    if all(part["type"] == "text" for part in content):
        message["content"] = "".join(part.get("text", "") for part in content)
    if tools:
        message["tool_calls"] = [tool_call(part) for part in tools]
    return [message, *(tool_message(part) for part in tools if part.get("state") in DONE)]


# Parts that only tell a page how to draw the message.
UNSAID = {"step-start", "reasoning"}
DONE = {"output-available", "output-error"}


def openai_part(part: dict[str, t.Any]) -> dict[str, t.Any]:
    if part["type"] == "text":
        return {"type": "text", "text": part.get("text", "")}
    if part["type"] == "file" and str(part.get("mediaType", "")).startswith("image/"):
        return {"type": "image_url", "image_url": {"url": part.get("url", "")}}
    return part


def is_tool(part: dict[str, t.Any]) -> bool:
    kind = part["type"]
    return "toolCallId" in part and (kind == "dynamic-tool" or kind.startswith("tool-"))


def tool_call(part: dict[str, t.Any]) -> dict[str, t.Any]:
    name = part.get("toolName") or part["type"].removeprefix("tool-")
    arguments = json.dumps(part.get("input", {}))
    call = {"name": name, "arguments": arguments}
    return {"id": part["toolCallId"], "type": "function", "function": call}


def tool_message(part: dict[str, t.Any]) -> Message:
    output = part.get("errorText") if part["state"] == "output-error" else part.get("output")
    text = output if isinstance(output, str) else json.dumps(output)
    return {"role": "tool", "tool_call_id": part["toolCallId"], "content": text}


def check_parts(parts: t.Any, place: int) -> list[dict[str, t.Any]]:
    """``parts`` if each one says what it is."""
    if isinstance(parts, list):
        for part in parts:
            if not isinstance(part, dict) or not isinstance(part.get("type"), str):
                raise wrong(place, "has a part that is not an object with a `type`")
            if part["type"] == "text" and not isinstance(part.get("text"), str):
                raise wrong(place, "has a text part whose `text` is not a string")
        return parts
    return []


def wrong(place: int, what: str) -> RequestError:
    return RequestError(f"`messages[{place}]` {what}.", "messages_invalid", 422)


def kind_of(value: t.Any) -> str:
    """A JSON value's kind, in JSON's words."""
    return JSON_KINDS.get(type(value), "something else")


JSON_KINDS: dict[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}
