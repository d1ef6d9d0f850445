"""HTTP request → ``ParsedRequest``."""

from __future__ import annotations

import hashlib
import json
import re
import typing as t
from collections.abc import Mapping
from dataclasses import astuple
from dataclasses import replace

import flask
from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge

from flask_aistream.core.cursor import Cursor
from flask_aistream.core.request import ChatRequest
from flask_aistream.core.request import Message
from flask_aistream.core.request import text_of
from flask_aistream.errors import CursorInvalid
from flask_aistream.errors import RequestError
from flask_aistream.protocols.base import ParsedRequest
from flask_aistream.protocols.base import WireProtocol
from flask_aistream.protocols.base import no_options
from flask_aistream.protocols.fields import json_type
from flask_aistream.protocols.native import NATIVE
from flask_aistream.server.bodies import BodyReads
from flask_aistream.web import attempts
from flask_aistream.web import form
from flask_aistream.web import json_body
from flask_aistream.web.config import Settings

URLENCODED = "application/x-www-form-urlencoded"
FORMS = (URLENCODED, "multipart/form-data")

BODY_BYTES = "flask_aistream.body_bytes"
"""Key of the WSGI environment: size of the body that was read."""

SYSTEM_ROLES = ("system", "developer")

CALL_ROLES = ("assistant", "tool")

CALL_ID_FACTOR = 64
"""How much longer than other names the id of a tool call may be: gateways carry signatures of a model in it."""

KEY = re.compile(r"[\x21-\x7e]{1,255}")


def read_request(
    protocol: WireProtocol, request: Request, settings: Settings, bodies: BodyReads
) -> ParsedRequest:
    """A request to start a run or to resume one. Headers take precedence over fields.

    :param bodies: Limits how slowly a body may arrive.
    :raises RequestError: It is malformed, or exceeds a limit.
    """
    if request.method == "GET":
        fields = request.args.to_dict()
    else:
        fields = read_body(protocol, request, settings, bodies)
    parsed = protocol.read(fields)
    check_size(parsed.messages, settings)
    environ = request.environ
    given = {
        "cursor": environ.get("HTTP_LAST_EVENT_ID"),
        "key": environ.get("HTTP_IDEMPOTENCY_KEY"),
        "attempt": attempts.attempt_of(protocol, request, fields),
    }
    changes: dict[str, t.Any] = {name: value for name, value in given.items() if value}
    if protocol.options is not no_options:
        changes["options"] = {**parsed.options, **protocol.options(request.args)}
    return replace(parsed, **changes) if changes else parsed


def read_cursor(request: Request) -> Cursor | None:
    """Where a request without a body resumes; ``None`` if it names no cursor.

    :raises CursorInvalid: It is not ``run:number``.
    """
    return cursor_of(request.headers.get("Last-Event-ID") or request.args.get("last_event_id"))


def read_own_cursor(request: Request) -> Cursor | None:
    """As :func:`read_cursor`, in a view of the application; ``None`` also if the cursor is not ``run:number``: it may
    belong to another event stream."""
    try:
        return read_cursor(request)
    except CursorInvalid:
        return None


def cursor_of(text: str | None) -> Cursor | None:
    """
    :raises CursorInvalid: It is not ``run:number``.
    """
    return Cursor.parse(text) if text else None


def read_body(
    protocol: WireProtocol, request: Request, settings: Settings, bodies: BodyReads
) -> dict[str, t.Any]:
    """The fields of a POST: a JSON object or a form.

    :raises RequestError: The body is too large or too slow, not JSON, or not an object.
    """
    data = receive_body(request, settings, bodies)
    if protocol.form is not None and request.mimetype in FORMS:
        check_fields(data, request)
        urlencoded = request.mimetype == URLENCODED
        fields = form.parse_urlencoded(data) if urlencoded else request.form
        return form.read_form(fields, protocol.form, settings)
    value = json_body.loads(data, depth=settings.max_json_depth, values=settings.max_json_values)
    if protocol.string_body_field and isinstance(value, str):
        return {protocol.string_body_field: value}
    if not isinstance(value, dict):
        raise RequestError(
            f'The body is {json_type(value)} but must be an object such as {{"prompt": "Hello"}}.',
            "body_invalid",
        )
    return value


def receive_body(request: Request, settings: Settings, bodies: BodyReads) -> bytes:
    """
    :raises RequestError: The body is too large or too slow, or does not arrive as a whole.
    """
    limit = settings.max_body_bytes
    # A body without a length would be cut at the limit: with one byte more, the excess shows.
    request.max_content_length = limit + 1 if limit and request.content_length is None else limit
    with bodies.limit(request.environ) as was_ended:
        try:
            data = request.get_data()
            # Servers return what has arrived if the client leaves.
            missing = len(data) < (request.content_length or 0)
        except RequestEntityTooLarge:
            raise too_large(f"{limit} bytes") from None
        except Exception:  # The server's own, of malformed chunks for example.
            missing = True
        if missing and was_ended():
            raise RequestError(
                f"The body did not arrive within {settings.body_seconds} seconds, or too many bodies arrive slowly. "
                "Send it again.",
                "body_timeout",
                408,
            )
    if missing:
        raise RequestError("The body is malformed, or did not arrive as a whole.", "body_invalid")
    if limit is not None and len(data) > limit:
        raise too_large(f"{limit} bytes")
    request.environ[BODY_BYTES] = len(data)  # A body in chunks has no Content-Length.
    return data


def check_fields(data: bytes, request: Request) -> None:
    """Reject a form of too many fields before it is parsed: 200,000 fields take 0.8 s. Werkzeug has
    the limit, but counts only parts of ``multipart/form-data``.

    :raises RequestError: It has more fields than Flask's ``MAX_FORM_PARTS``.
    """
    limit = request.max_form_parts
    if limit is not None and data.count(b"&") >= limit and request.mimetype == URLENCODED:
        raise too_large(f"{limit} fields")


def too_large(limit: str) -> RequestError:
    return RequestError(
        f"The body is larger than {limit}, the limit of this server.", "body_too_large", 413
    )


def read_given(
    request: str | Mapping[str, t.Any] | ChatRequest,
    settings: Settings,
    *,
    chat: str | None,
    key: str | None,
    background: bool,
) -> ParsedRequest:
    """A request of the application's own code, see :meth:`AIStream.start`.

    :raises RequestError: It is of none of the three types, malformed, or exceeds a limit.
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
            "The request has `last_event_id`, which resumes a run, but ai.start starts one. "
            "Use ai.attach(run_id), or leave it out.",
            "cursor_invalid",
        )
    check_size(parsed.messages, settings)
    return replace(parsed, chat=chat or parsed.chat, key=key or parsed.key, background=background)


def header_key() -> str | None:
    """The ``Idempotency-Key`` of the current request, if there is one."""
    return flask.request.headers.get("Idempotency-Key") if flask.has_request_context() else None


def check_names(**names: object) -> None:
    """
    :raises TypeError: A name is not a string.
    """
    for name, value in names.items():
        if value is not None and not isinstance(value, str):
            kind = type(value).__name__
            raise TypeError(f"{name} is {value!r} ({kind}) but must be a str. Use str({name}).")


def checked_key(key: str | None) -> str | None:
    """
    :raises RequestError: The idempotency key is too long, or has characters that no header can hold.
    """
    if key and not KEY.fullmatch(key):
        raise RequestError(
            "The Idempotency-Key must be 1 to 255 printable ASCII characters without spaces.",
            "key_invalid",
        )
    return key or None


def fingerprint(parsed: ParsedRequest) -> str:
    """SHA-256 of what a request asks; a retry has the same one."""
    beside: list[t.Any] = [astuple(decision) for decision in parsed.decisions]
    beside += [astuple(parsed.branch)] if parsed.branch else []
    asked = json.dumps([parsed.messages, parsed.params, parsed.chat, beside], sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()


def check_size(messages: list[Message], settings: Settings) -> None:
    if settings.max_messages is not None and len(messages) > settings.max_messages:
        raise RequestError(
            f"There are {len(messages)} messages, but at most {settings.max_messages} are accepted.",
            "too_many_messages",
            422,
        )
    size = sum(len(text_of(message.get("content"))) for message in messages)
    if settings.max_prompt_characters is not None and size > settings.max_prompt_characters:
        raise RequestError(
            f"The messages have {size} characters, but at most {settings.max_prompt_characters} are "
            "accepted.",
            "prompt_too_long",
            422,
        )


def refuse_media(messages: list[Message]) -> None:
    """
    :raises RequestError: A message has a part that is not text.
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


def refuse_system_messages(messages: list[Message]) -> None:
    """
    :raises RequestError: A message instructs the model, which only the server does.
    """
    for place, message in enumerate(messages):
        if message["role"] in SYSTEM_ROLES:
            raise RequestError(
                f"`messages[{place}]` has the role {message['role']!r}, but the server alone instructs this model. "
                "Send no system or developer messages, and no `instructions`.",
                "system_refused",
                422,
            )


def check_names_of(parsed: ParsedRequest, owner: str | None, settings: Settings) -> None:
    """
    :raises RequestError: A name that the run keeps is too long, or is not valid Unicode, which no store can keep.
    """
    if owner is not None and not is_unicode(owner):
        raise RequestError(
            "The owner has half of a surrogate pair, which no store can keep.", "owner_invalid", 422
        )
    names = (
        ("chat id", parsed.chat),
        ("message id", parsed.continues or parsed.message_id),
        ("id of the message to branch off at", parsed.branch and parsed.branch.message),
        ("Idempotency-Key", parsed.key),
        ("owner", owner),
        *parsed.options.items(),
    )
    limit = settings.max_name_characters
    for what, name in names:
        if name and isinstance(name, str):
            check_name(what, name, limit)
    for name in parsed.params:
        check_name("name of a parameter", name, limit)
    for message in parsed.messages:
        if message["role"] in CALL_ROLES:
            check_names_of_calls(message, limit)


def check_names_of_calls(message: Message, limit: int | None) -> None:
    ids = [message.get("tool_call_id")]
    for call in message.get("tool_calls") or ():
        ids.append(call.get("id"))
        function = call.get("function") or call.get("custom")
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            check_name("name of a tool", function["name"], limit)
    for id in ids:
        if isinstance(id, str):
            check_name("id of a tool call", id, limit and limit * CALL_ID_FACTOR)


def check_name(what: str, name: str, limit: int | None) -> None:
    if limit is not None and len(name) > limit:
        raise RequestError(
            f"The {what} has {len(name)} characters, but at most {limit} are accepted.",
            "name_too_long",
            422,
        )
    if not is_unicode(name):
        raise RequestError(
            f"The {what} has half of a surrogate pair, which no store can keep.",
            "name_invalid",
            422,
        )


def is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_prefetch(request: Request) -> bool:
    """Whether a browser only prefetches the page: the user has not opened it yet."""
    environ = request.environ
    return "prefetch" in environ.get("HTTP_SEC_PURPOSE", "") or "prefetch" in environ.get(
        "HTTP_PURPOSE", ""
    )
