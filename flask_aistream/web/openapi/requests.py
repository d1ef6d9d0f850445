"""JSON schemas of request bodies, by protocol. Tests hold them against the protocols' readers."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from flask_aistream.core.cursor import CURSOR
from flask_aistream.protocols.ag_ui import ROLES as AG_UI_ROLES
from flask_aistream.protocols.base import WireProtocol
from flask_aistream.protocols.messages import ROLES
from flask_aistream.protocols.openai_responses import LOGPROBS
from flask_aistream.protocols.openai_responses_echo import ECHOED
from flask_aistream.protocols.openai_responses_echo import SENT
from flask_aistream.protocols.openai_responses_input import ROLES as INPUT_ROLES
from flask_aistream.web.config import Settings
from flask_aistream.web.openapi.shapes import NAMES
from flask_aistream.web.openapi.shapes import TEXT
from flask_aistream.web.openapi.shapes import Schema
from flask_aistream.web.openapi.shapes import choice
from flask_aistream.web.openapi.shapes import listing
from flask_aistream.web.openapi.shapes import record
from flask_aistream.web.parse import KEY

OFF: Schema = {"enum": [None, False]}
KEY_TEXT: Schema = {**TEXT, "pattern": f"^{KEY.pattern}$"}
CURSOR_TEXT: Schema = {**TEXT, "pattern": f"^{CURSOR.pattern}$"}
FLAG: Schema = {"type": ["boolean", "null"]}


def body_of(protocol: WireProtocol, settings: Settings, models: t.Collection[str]) -> Schema:
    """The body that starts a run in a protocol; any object for a protocol of the application's own.

    :param models: Names of the providers.
    """
    make = BODIES.get(protocol.name)
    return make(Bounds(settings), models) if make else {"type": "object"}


class Bounds:
    """The limits of the configuration, as keywords of JSON Schema."""

    def __init__(self, settings: Settings) -> None:
        self._messages = given(maxItems=settings.max_messages)
        self.name: Schema = {**TEXT, **given(maxLength=settings.max_name_characters)}
        self.text: Schema = {**TEXT, **given(maxLength=settings.max_prompt_characters)}

    def messages(self, message: Schema) -> Schema:
        return {**listing(message), "minItems": 1, **self._messages}


def given(**keywords: int | None) -> Schema:
    return {name: value for name, value in keywords.items() if value is not None}


PART: Schema = {
    "anyOf": [
        record(type={"const": "text"}, text=TEXT),
        record(type={**TEXT, "not": {"const": "text"}}),
    ]
}


def message_of(roles: t.Iterable[str], tool: Schema | None = None) -> Schema:
    """A message with a text or a list of parts.

    :param tool: The message of a tool. It answers a call of a message before it, which no schema can express.
    """
    spoken = record(
        role=choice(role for role in roles if role != "tool"),
        content={"anyOf": [TEXT, listing(PART)]},
    )
    return spoken if tool is None else {"anyOf": [spoken, tool]}


def tool_message(id: str) -> Schema:
    return record(role={"const": "tool"}, content=TEXT, **{id: TEXT})


CHAT_MESSAGE = message_of(ROLES, tool_message("tool_call_id"))
UI_ROLES = choice(role for role in ROLES if role != "tool")
UI_MESSAGE = {"anyOf": [record(role=UI_ROLES, parts=listing(PART)), *CHAT_MESSAGE["anyOf"]]}
AG_UI_MESSAGE = message_of(AG_UI_ROLES, tool_message("toolCallId"))
INPUT_MESSAGE = message_of(INPUT_ROLES)


def one_of_fields(properties: Mapping[str, Schema], *names: str) -> Schema:
    """An object that has at least one of these fields; without any, an object."""
    required = {"anyOf": [{"required": [name]} for name in names]} if names else {}
    return {"type": "object", "properties": properties, **required}


DECISION: Schema = {
    "anyOf": [
        {"type": "boolean"},
        {
            "type": "object",
            "properties": {"approved": {"type": "boolean"}, "reason": TEXT},
            "required": ["approved"],
        },
    ]
}


def native(bounds: Bounds, models: t.Collection[str]) -> Schema:
    return one_of_fields(
        {
            "prompt": bounds.text,
            "messages": bounds.messages(CHAT_MESSAGE),
            "last_event_id": CURSOR_TEXT,
            "request_id": KEY_TEXT,
            "chat": bounds.name,
            "edit": bounds.name,
            "regenerate": {"type": ["boolean", "string"]},
            "approvals": {"type": "object", "additionalProperties": DECISION},
        },
        *("prompt", "messages", "last_event_id"),
    )


def ai_sdk(bounds: Bounds, models: t.Collection[str]) -> Schema:
    properties = {
        "id": bounds.name,
        "messages": bounds.messages(UI_MESSAGE),
        "message": UI_MESSAGE,
        "prompt": bounds.text,
        "trigger": {},
        "messageId": bounds.name,
    }
    return one_of_fields(properties, "messages", "message", "prompt")


def text(bounds: Bounds, models: t.Collection[str]) -> Schema:
    """As ``useCompletion`` and ``useObject`` post it; any other object, or a string, becomes the prompt."""
    posted = ai_sdk(bounds, models)
    del posted["anyOf"]
    return {"anyOf": [{**posted, "minProperties": 1}, bounds.text]}


def ag_ui(bounds: Bounds, models: t.Collection[str]) -> Schema:
    schema = record(messages=bounds.messages(AG_UI_MESSAGE))
    schema["properties"] |= {
        "threadId": bounds.name,
        "runId": bounds.name,
        "parentRunId": bounds.name,
    }
    return schema


def openai_chat(bounds: Bounds, models: t.Collection[str]) -> Schema:
    schema = record(model=choice(models), messages=bounds.messages(CHAT_MESSAGE))
    schema["properties"] |= {
        "n": {"enum": [None, 1]},
        "functions": {"type": "null"},
        "function_call": {"type": "null"},
        "stream": FLAG,
        "stream_options": {"type": "object", "properties": {"include_usage": FLAG}},
    }
    schema["dependentSchemas"] = {"stream_options": record(stream={"const": True})}
    return schema


def openai_responses(bounds: Bounds, models: t.Collection[str]) -> Schema:
    schema = record(
        model=choice(models), input={"anyOf": [bounds.text, bounds.messages(INPUT_MESSAGE)]}
    )
    echoed = {
        name: {"type": [*dict.fromkeys(NAMES[kind] for kind in kinds), "null"]}
        for name, (kinds, _) in ECHOED.items()
    }
    schema["properties"] |= {
        **echoed,
        **{name: {"type": ["object", "null"]} for name in SENT},
        "stream": FLAG,
        "background": FLAG,
        "conversation": {"anyOf": [bounds.name, record(id=bounds.name), {"type": "null"}]},
        "top_logprobs": {"enum": [None, 0]},
        "include": {"type": ["array", "null"], "items": {"not": {"const": LOGPROBS}}},
        "stream_options": {"type": "object", "properties": {"include_obfuscation": OFF}},
    }
    schema["dependentSchemas"] = {"stream_options": record(stream={"const": True})}
    return schema


def form_of(protocol: WireProtocol, body: Schema) -> Schema:
    """The form that stands for a body: its text fields, and its numbers and flags as text."""
    simple = {
        name: {"type": [NAMES[kind] for kind in kinds if kind not in (dict, list)]}
        for name, kinds in (protocol.form or {}).items()
        if {*kinds} - {dict, list}
    }
    few = {
        name: {"enum": [value for value in it["enum"] if value is not None]}
        for name, it in body.get("properties", {}).items()
        if name in simple and "enum" in it
    }
    fields = {**text_fields(body), **simple, **few}
    needed = [name for row in body.get("anyOf", ()) for name in row["required"] if name in fields]
    schema: Schema = {"type": "object", "properties": fields, "required": body.get("required", [])}
    return {**schema, "anyOf": [{"required": [name]} for name in needed]} if needed else schema


def text_fields(body: Schema) -> Mapping[str, Schema]:
    """The fields of a body that may be strings, which a form and a query can have."""
    fields = {name: as_text(it) for name, it in body.get("properties", {}).items()}
    return {name: it for name, it in fields.items() if it is not None}


def as_text(field: Schema) -> Schema | None:
    """The schema of a field's strings; ``None`` if it may be no string."""
    if field.get("type") == "string":
        return field
    return next((it for it in field.get("anyOf", ()) if it.get("type") == "string"), None)


BODIES: Mapping[str, t.Callable[[Bounds, t.Collection[str]], Schema]] = {
    "native": native,
    "html": native,
    "ai-sdk": ai_sdk,
    "text": text,
    "ag-ui": ag_ui,
    "openai-chat": openai_chat,
    "openai-responses": openai_responses,
}
