"""HTTP request → what is asked for."""

from __future__ import annotations

import hashlib
import json
import re
import typing as t
from collections.abc import Mapping
from dataclasses import replace

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge

from flask_aistream.core.cursor import Cursor
from flask_aistream.core.request import ChatRequest
from flask_aistream.core.request import Message
from flask_aistream.core.request import text_of
from flask_aistream.errors import RequestError
from flask_aistream.protocols.base import ParsedRequest
from flask_aistream.protocols.base import WireProtocol
from flask_aistream.protocols.fields import kind_of
from flask_aistream.protocols.native import NATIVE
from flask_aistream.web.config import Settings

FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")

KEY = re.compile(r"[\x21-\x7e]{1,255}")


def read_ask(protocol: WireProtocol, request: Request, settings: Settings) -> ParsedRequest:
    """What the request asks for, in the words of its dialect.

    :raises RequestError: It cannot be understood, or is over a limit.
    """
    if request.method == "GET":
        fields = request.args.to_dict()
    else:
        fields = read_body(protocol, request, settings)
    parsed = protocol.read(fields)
    check_size(parsed.messages, settings)
    return parsed


def read_body(protocol: WireProtocol, request: Request, settings: Settings) -> dict[str, t.Any]:
    """The JSON object, or form, of a POST.

    :raises RequestError: Too large, not JSON, or not an object.
    """
    request.max_content_length = settings.max_body_bytes
    try:
        if protocol.forms and request.mimetype in FORMS:
            return request.form.to_dict()
        data = request.get_data()
    except RequestEntityTooLarge:
        raise RequestError(
            f"The body is larger than {settings.max_body_bytes} bytes, the most that is read here.",
            "body_too_large",
            413,
        ) from None
    try:
        value = json.loads(data)
    except RecursionError:
        raise RequestError("The body is JSON nested too deeply.", "body_invalid") from None
    except ValueError as error:
        raise RequestError(
            f"The body is not JSON ({error}). Send an object such as "
            '{"prompt": "Hello"} with Content-Type: application/json.',
            "body_invalid",
        ) from None
    if protocol.bare and isinstance(value, str):
        return {protocol.bare: value}
    if not isinstance(value, dict):
        raise RequestError(
            f'The body is {kind_of(value)} but must be an object such as {{"prompt": "Hello"}}.',
            "body_invalid",
        )
    return value


def given(
    request: str | Mapping[str, t.Any] | ChatRequest,
    settings: Settings,
    *,
    chat: str | None,
    key: str | None,
    background: bool,
) -> ParsedRequest:
    """What the application's own code asks for.

    :raises RequestError: It is none of the three, has something wrong in it, or is over a limit.
    """
    if isinstance(request, ChatRequest):
        messages = request.messages or [Message(role="user", content=request.prompt)]
        parsed = ParsedRequest(
            messages, request.params, request.body, request.chat, request.continues
        )
        background = background or request.background
    elif isinstance(request, (str, Mapping)):
        parsed = NATIVE.read({"prompt": request} if isinstance(request, str) else dict(request))
    else:
        raise RequestError(
            f"The request is a {type(request).__name__} but must be a prompt (str), an object as it "
            'would be posted, such as {"prompt": "Hello"}, or a ChatRequest.'
        )
    if parsed.cursor is not None:
        raise RequestError(
            "The request has `last_event_id`, which resumes a run, and nothing is to be resumed here. "
            "Take ai.attach(run_id), or leave it out.",
            "cursor_invalid",
        )
    check_size(parsed.messages, settings)
    key = checked_key(key or parsed.key)
    return replace(parsed, chat=chat or parsed.chat, key=key, background=background)


def check_names(**names: object) -> None:
    """
    :raises RequestError: One of them is no string.
    """
    for name, value in names.items():
        if value is not None and not isinstance(value, str):
            kind = type(value).__name__
            raise RequestError(f"{name} is {value!r} ({kind}) but must be a str. Use str({name}).")


def cursor_of(request: Request, parsed: ParsedRequest) -> Cursor | None:
    """Where to resume, ``None`` to start.

    :raises CursorInvalid: Somewhere, but not ``run:number``.
    """
    text = request.headers.get("Last-Event-ID") or parsed.cursor
    return Cursor.parse(text) if text else None


def key_of(request: Request, parsed: ParsedRequest) -> str | None:
    """The idempotency key of a request.

    :raises RequestError: It has characters that cannot be in a header, or too many.
    """
    return checked_key(request.headers.get("Idempotency-Key") or parsed.key)


def checked_key(key: str | None) -> str | None:
    if key and not KEY.fullmatch(key):
        raise RequestError(
            "The Idempotency-Key must be 1 to 255 printable ASCII characters without spaces.",
            "key_invalid",
        )
    return key or None


def fingerprint(parsed: ParsedRequest) -> str:
    """The same for requests that ask for the same."""
    asked = json.dumps([parsed.messages, parsed.params, parsed.chat], sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()


def check_size(messages: list[Message], settings: Settings) -> None:
    if settings.max_messages is not None and len(messages) > settings.max_messages:
        raise RequestError(
            f"There are {len(messages)} messages, but at most {settings.max_messages} are taken here.",
            "too_many_messages",
            422,
        )
    size = sum(len(text_of(message.get("content"))) for message in messages)
    if settings.max_prompt_characters is not None and size > settings.max_prompt_characters:
        raise RequestError(
            f"The messages have {size} characters, but at most {settings.max_prompt_characters} are "
            "taken here.",
            "prompt_too_long",
            422,
        )


def refuse_media(messages: list[Message]) -> None:
    """Refuse what is not text.

    :raises RequestError: A message has a part of another kind.
    """
    for place, message in enumerate(messages):
        content = message.get("content")
        kinds = {str(part["type"]) for part in content} if isinstance(content, list) else set()
        if kinds - {"text"}:
            raise RequestError(
                f"`messages[{place}]` has a part of type {sorted(kinds - {'text'})[0][:50]!r}, but this "
                "provider takes only text.",
                "content_unsupported",
                422,
            )


def is_prefetch(request: Request) -> bool:
    """A browser looking ahead; nobody has asked for this answer yet."""
    asked = (request.environ.get(name, "") for name in ("HTTP_SEC_PURPOSE", "HTTP_PURPOSE"))
    return any("prefetch" in purpose for purpose in asked)
