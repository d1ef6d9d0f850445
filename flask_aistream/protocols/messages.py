"""Conversations in the formats of clients → OpenAI's chat format.

Lenient with newer clients: unknown fields and parts are kept for the provider. Strict where no model accepts the message:
every message has a known role, and every tool message answers an earlier call.

Sources: OpenAI Chat Completions (``role``, ``content``), AI SDK UI messages (``role``, ``parts``).
"""

from __future__ import annotations

import re
import typing as t

from flask_aistream.core.conversation import DENIED
from flask_aistream.core.conversation import Decision
from flask_aistream.core.request import Message
from flask_aistream.errors import RequestError
from flask_aistream.protocols.fields import wrong_type
from flask_aistream.protocols.wire import dumps

Part = dict[str, t.Any]

ROLES = ("system", "developer", "user", "assistant", "tool", "function")

# Parts of a UI message that matter only for rendering. They stay in the body.
IGNORED_PARTS = {"reasoning", "source-url", "source-document"}
STEP = "step-start"

TOOL_FIELDS = (
    ("toolCallId", str, "a string"),
    ("toolName", (str, type(None)), "a string"),
    ("state", (str, type(None)), "a string"),
    ("approval", (dict, type(None)), "an object"),
)
"""Fields of a tool part that are looked at, and their types."""

# States of a tool part that has a result.
COMPLETED_STATES = ("output-available", "output-error", "output-denied")
# Media types of the audio formats that OpenAI's chat format has.
AUDIO_FORMATS = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
}
MAX_ID = 255

NEW_ROLES = ("user", "tool")

BASE64 = re.compile(r"data:[^,]*;base64,(.*)", re.DOTALL)


def read_messages(value: t.Any, *, complete: bool = True) -> list[Message]:
    """Messages in OpenAI's or the AI SDK's format.

    :param complete: No earlier message is in a history.
    :raises RequestError: ``value`` is not a list of messages; the text names the invalid one.
    """
    if not isinstance(value, list):
        raise wrong_type("messages", value, "a list of objects with `role` and `content`")
    messages = [m for index, item in enumerate(value) for m in read_message(item, index)]
    return check_tool_messages(messages, complete=complete)


def newest_id(items: t.Any) -> str | None:
    """The client's id of the last message, if that is a new one: of the user, or the result of a tool.

    :raises RequestError: It is too long.
    """
    last = items[-1] if isinstance(items, list) and items else None
    if not (isinstance(last, dict) and last.get("role") in NEW_ROLES):
        return None
    return id_of(last, len(items) - 1)


def id_of(item: t.Any, index: int) -> str | None:
    """The client's id of a message; ``None`` if it has none.

    :raises RequestError: It is too long.
    """
    id = item.get("id") if isinstance(item, dict) else None
    if isinstance(id, str) and len(id) > MAX_ID:
        raise invalid_message(index, f"must have an `id` of at most {MAX_ID} characters")
    return id if isinstance(id, str) else None


def read_approvals(value: t.Any) -> list[Decision]:
    """``approvals``: by id of the tool call, true, false, or ``{"approved", "reason"}``.

    :raises RequestError: It is something else.
    """
    if value is None:
        return []
    wanted = 'an object such as {"call_1": true, "call_2": {"approved": false, "reason": "Too expensive"}}'
    if not isinstance(value, dict):
        raise wrong_type("approvals", value, wanted)
    decisions: list[Decision] = []
    for call, answer in value.items():
        answer = answer if isinstance(answer, dict) else {"approved": answer}
        approved, reason = answer.get("approved"), answer.get("reason")
        if not isinstance(approved, bool) or not (reason is None or isinstance(reason, str)):
            raise wrong_type(f"approvals[{call[:50]!r}]", answer, f"in {wanted}")
        decisions.append(Decision(call, approved, reason))
    return decisions


def read_message(item: t.Any, index: int) -> list[Message]:
    """One message. A UI message with tool parts becomes several."""
    role = role_of(item, index, ROLES)
    if isinstance(item.get("parts"), list):
        return from_parts(role, check_parts(item["parts"], index))
    check_content(item.get("content"), role, index)
    return [dict(item)]


def role_of(item: t.Any, index: int, roles: t.Sequence[str]) -> str:
    """The role of a message.

    :raises RequestError: ``item`` is not an object with one of ``roles``.
    """
    role = item.get("role") if isinstance(item, dict) else None
    if not isinstance(role, str) or role not in roles:
        raise invalid_message(index, f"must be an object whose `role` is one of {', '.join(roles)}")
    return role


def check_content(content: t.Any, role: str, index: int) -> None:
    # An assistant message with only tool calls has no content.
    if content is None and role == "assistant":
        return
    if not isinstance(content, (str, list)):
        raise invalid_message(index, "must have a `content` that is a string or a list of parts")
    if isinstance(content, list):
        check_parts(content, index)


def check_parts(parts: list[t.Any], index: int) -> list[Part]:
    """``parts``, if each is an object with a valid ``type``."""
    for part in parts:
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise invalid_message(index, "has a part that is not an object with a `type`")
        if part["type"] == "text" and not isinstance(part.get("text"), str):
            raise invalid_message(index, "has a text part whose `text` is not a string")
        if is_tool(part):
            check_tool_part(part, index)
    return parts


def check_tool_part(part: Part, index: int) -> None:
    for name, kind, wanted in TOOL_FIELDS:
        if name in part and not isinstance(part[name], kind):
            raise invalid_message(index, f"has a tool part whose `{name}` is not {wanted}")


def check_tool_messages(messages: list[Message], *, complete: bool = True) -> list[Message]:
    """``messages``, if every tool message answers an earlier call. Models reject others.

    :param complete: No earlier call is in a history.
    """
    called_ids: set[str] = set()
    for index, message in enumerate(messages):
        if message["role"] == "assistant":
            called_ids |= set(call_ids(message, index))
        elif message["role"] == "tool" and not isinstance(message.get("tool_call_id"), str):
            raise invalid_message(
                index, "is a tool message and must have the `tool_call_id` it answers"
            )
        elif message["role"] == "tool" and complete and message["tool_call_id"] not in called_ids:
            call = message["tool_call_id"][:100]
            raise invalid_message(
                index, f"answers the tool call {call!r}, which no assistant message before it made"
            )
    return messages


def call_ids(message: Message, index: int) -> list[str]:
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list) or not all(is_call(call) for call in calls):
        raise invalid_message(index, "has `tool_calls` that are not a list of objects with an `id`")
    return [call["id"] for call in calls]


def is_call(call: t.Any) -> bool:
    return isinstance(call, dict) and isinstance(call.get("id"), str)


def from_parts(role: str, parts: list[Part]) -> list[Message]:
    """The parts of a UI message. Each assistant turn becomes a message, followed by its tool messages."""
    return [message for turn in split_turns(parts) for message in from_turn(role, turn)]


def split_turns(parts: list[Part]) -> list[list[Part]]:
    """``parts``, split at each new model call: at a step, or after a tool part.

    Parts that matter only for rendering are left out.
    """
    turns: list[list[Part]] = [[]]
    for part in parts:
        if part["type"] in IGNORED_PARTS or part["type"].startswith("data-"):
            continue
        if part["type"] == STEP or (turns[-1] and is_tool(turns[-1][-1]) and not is_tool(part)):
            turns.append([])
        if part["type"] != STEP:
            turns[-1].append(part)
    return [turn for turn in turns if turn] or [[]]


def from_turn(role: str, parts: list[Part]) -> list[Message]:
    """Only text parts become a string; tool parts become calls and tool messages."""
    tools = [part for part in parts if is_tool(part)]
    content = [openai_part(part) for part in parts if not is_tool(part)]
    message: Message = {"role": role, "content": content}
    if all(part["type"] == "text" for part in content):
        message["content"] = "".join(part["text"] for part in content)
    if tools:
        message["tool_calls"] = [tool_call(part) for part in tools]
    return [
        message,
        *(tool_message(part) for part in tools if part.get("state") in COMPLETED_STATES),
    ]


def is_tool(part: Part) -> bool:
    kind = part["type"]
    return "toolCallId" in part and (kind == "dynamic-tool" or kind.startswith("tool-"))


def openai_part(part: Part) -> Part:
    """A UI message part in OpenAI's chat format; unchanged if that format has no equivalent."""
    if part["type"] == "text":
        return {"type": "text", "text": part["text"]}
    if part["type"] == "file" and isinstance(part.get("url"), str):
        return file_part(part["url"], str(part.get("mediaType", "")), part.get("filename")) or part
    return part


def file_part(url: str, media_type: str, filename: str | None) -> Part | None:
    """A file in OpenAI's chat format: an image, audio, or inline data. ``None`` if it has no equivalent."""
    if media_type.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": url}}
    data = BASE64.fullmatch(url)
    if data and media_type in AUDIO_FORMATS:
        audio = {"data": data[1], "format": AUDIO_FORMATS[media_type]}
        return {"type": "input_audio", "input_audio": audio}
    if url.startswith("data:"):
        name = filename or default_name(media_type)
        return {"type": "file", "file": {"filename": name, "file_data": url}}
    return None


def default_name(media_type: str) -> str:
    """``file.pdf`` for ``application/pdf``: model servers go by the extension."""
    subtype = media_type.partition("/")[2]
    return f"file.{subtype}" if subtype.isalnum() else "file"


def tool_call(part: Part) -> Part:
    name = part.get("toolName") or part["type"].removeprefix("tool-")
    arguments = part.get("input", part.get("rawInput"))
    return openai_call(part["toolCallId"], str(name), {} if arguments is None else arguments)


def openai_call(id: str, name: str, arguments: t.Any) -> Part:
    """A tool call in OpenAI's chat format. ``arguments`` that are a string are not encoded again."""
    text = arguments if isinstance(arguments, str) else dumps(arguments)
    return {"id": id, "type": "function", "function": {"name": name, "arguments": text}}


def tool_message(part: Part) -> Message:
    outputs = {"output-error": part.get("errorText"), "output-denied": DENIED}
    output = outputs.get(part["state"], part.get("output"))
    text = output if isinstance(output, str) else dumps(output)
    return {"role": "tool", "tool_call_id": part["toolCallId"], "content": text}


def invalid_message(index: int, what: str) -> RequestError:
    return RequestError(f"`messages[{index}]` {what}.", "messages_invalid", 422)
