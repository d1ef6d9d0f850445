"""Failures of a model's service → codes, statuses and sentences for a person.

Exceptions are recognised by the module of their class, error objects by their fields; no SDK is
imported. The vendor's own words are for its customer: they go to the log, never to clients.
"""

from __future__ import annotations

import inspect
import json
import re
import typing as t
from collections.abc import Iterator

from flask_aistream.core.events import Event
from flask_aistream.core.events import Failed
from flask_aistream.errors import ProviderError
from flask_aistream.providers.plain import Fields
from flask_aistream.providers.plain import fields_of
from flask_aistream.providers.retry_after import PASSING
from flask_aistream.providers.retry_after import retry_after_of

FAILURES: dict[str, tuple[int, str]] = {
    "upstream_auth": (502, "The model's service refused this application's credentials."),
    "upstream_rate_limited": (
        429,
        "The model's service is receiving too many requests. Try again in a moment.",
    ),
    "context_too_long": (
        400,
        "The conversation is too long for the model. Shorten it, or start a new one.",
    ),
    "content_refused": (400, "The model's service refused this content under its usage policy."),
    "upstream_timeout": (504, "The model's service did not answer in time. Try again."),
    "upstream_unavailable": (
        503,
        "The model's service cannot be reached or is overloaded. Try again in a moment.",
    ),
    "upstream_incomplete": (
        502,
        "The model's service ended the answer before it was complete. Ask again.",
    ),
    "upstream_invalid": (502, "The model's service sent something that is not an answer."),
    "upstream_error": (502, "The model's service reported an error."),
}
"""Code → status, if nothing was streamed yet, and sentence."""

BY_STATUS = {
    401: "upstream_auth",
    403: "upstream_auth",
    408: "upstream_timeout",
    413: "context_too_long",
    429: "upstream_rate_limited",
    504: "upstream_timeout",
    524: "upstream_timeout",  # Cloudflare
}

ABOUT_INPUT = {"context_too_long", "content_refused"}

# Patterns in the type, code or message of an error object → codes; the first match counts.
BY_WORDS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), code)
    for pattern, code in (
        (
            r"context[ _]?(length|window|limit|size)|prompt is too long|input is too long|too many tokens"
            r"|maximum (number of tokens|prompt length|model length)|model token limit"
            r"|exceeds? (the )?(model's )?max|reduce the length|tokens_limit_reached|max_new_tokens"
            r"|string_above_max_length|request_too_large|range of input length",
            "context_too_long",
        ),
        (
            r"content[ _]?(filter|policy|management|exists risk)|responsibleai|prohibited_content"
            r"|blocklist|data_?inspection|usage (polic|guideline)|input was flagged|invalid_prompt",
            "content_refused",
        ),
        (
            r"rate[ _]limit|too[ _]many[ _]requests|resource_?exhausted|insufficient_quota|throttling"
            r"|over capacity",
            "upstream_rate_limited",
        ),
        (
            r"authentication_error|permission_error|(invalid|incorrect)[ _]api[ _]key|unauthenticated"
            r"|permission_denied|api key not valid|unauthorized",
            "upstream_auth",
        ),
        (r"overloaded|unavailable", "upstream_unavailable"),
        (r"timeout_error|timed out|deadline_exceeded", "upstream_timeout"),
        (r"can not decode content-encoding", "upstream_invalid"),  # aiohttp
    )
)

LIBRARIES = frozenset(
    [
        "aiohttp",
        "anthropic",
        "azure",
        "botocore",
        "cerebras",
        "cohere",
        "google",
        "groq",
        "grpc",
        "http",
        "httpx",
        "httpx2",
        "huggingface_hub",
        "litellm",
        "mistralai",
        "ollama",
        "openai",
        "pydantic_ai",
        "requests",
        "together",
        "urllib",
        "urllib3",
    ]
)
"""Packages whose exceptions mean a failure of a model's service, or of the connection to it."""

# Parts of the names of exceptions without a status → codes; the first match counts.
BY_CLASS: tuple[tuple[str, str | None], ...] = (
    ("ImproperConnection", None),  # http.client's, for calls in the wrong order.
    ("Disconnect", "upstream_unavailable"),
    ("NewConnection", "upstream_unavailable"),  # To urllib3 it is a ConnectTimeoutError as well.
    ("Timeout", "upstream_timeout"),
    ("ContentFilter", "content_refused"),
    ("LengthFinish", "upstream_incomplete"),
    ("IncompleteToolCall", "upstream_incomplete"),
    ("UnexpectedModelBehavior", "upstream_invalid"),
    ("ContentType", "upstream_invalid"),
    ("BadStatusLine", "upstream_invalid"),
    ("LineTooLong", "upstream_invalid"),
    ("Decod", "upstream_invalid"),
    ("TooManyRedirects", "upstream_invalid"),
    ("ResponseValidation", "upstream_invalid"),
    ("IncompleteRead", "upstream_unavailable"),
    ("Connect", "upstream_unavailable"),
    ("Protocol", "upstream_unavailable"),
    ("Payload", "upstream_unavailable"),
    ("Chunked", "upstream_unavailable"),
    ("Retry", "upstream_unavailable"),
    ("ServiceRe", "upstream_unavailable"),  # azure.core
    ("ReadError", "upstream_unavailable"),
    ("WriteError", "upstream_unavailable"),
    ("CloseError", "upstream_unavailable"),
    ("SSL", "upstream_unavailable"),
    ("Proxy", "upstream_unavailable"),
    ("Network", "upstream_unavailable"),
    ("Transport", "upstream_unavailable"),
    ("URLError", "upstream_unavailable"),
    ("GoogleAuth", "upstream_auth"),
    ("Credentials", "upstream_auth"),
)


def failure(code: str, retry_after: float | None = None) -> ProviderError:
    status, sentence = FAILURES[code]
    return ProviderError(code, sentence, status=status, retry_after=retry_after)


def failure_of(error: BaseException, now: float | None = None) -> ProviderError | None:
    """The failure that an exception of a known library means; ``None`` for any other exception.

    An exception group means the failure of its first member, if each member means one. An exception that was
    raised from another one (``raise … from error``) has the meaning of that one, unless its own is more specific.

    :param now: Seconds since 1970, for a ``Retry-After`` that is a date.
    """
    known = [it for it in (meaning(one, now) for one in causes(error)) if it is not None]
    if not known:
        return None
    found = next((it for it in known if it.code != "upstream_error"), known[0])
    if found.retry_after is None and found.code in PASSING:
        found.retry_after = next(
            (it.retry_after for it in known if it.retry_after is not None), None
        )
    return found


def meaning(error: BaseException, now: float | None) -> ProviderError | None:
    return group_failure(error, now) or own_failure(error, now)


def causes(error: BaseException) -> Iterator[BaseException]:
    """``error`` and its ``__cause__`` chain, each preceded by the ``reason`` that urllib3 and urllib attach."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        reason = getattr(one, "reason", None)
        if isinstance(reason, BaseException):
            yield reason
        yield one
        one = one.__cause__


def group_failure(error: BaseException, now: float | None) -> ProviderError | None:
    members = getattr(error, "exceptions", None)
    if not isinstance(members, list | tuple) or not members:
        return None
    failures = [
        failure_of(it, now) if isinstance(it, BaseException) else None for it in members[:100]
    ]
    return failures[0] if all(failures) else None


def own_failure(error: BaseException, now: float | None) -> ProviderError | None:
    """The failure that ``error`` itself describes; ``None`` if it is of no known library."""
    bases = [base for base in type(error).__mro__ if root_of(base) in LIBRARIES]
    if not bases:
        return failure("upstream_invalid") if is_unreadable(error) else None
    response = getattr(error, "response", None)
    body = body_of(error, response)
    status = status_of(error, response)
    words = (
        words_of(body) or f"{word(error, 'code')} {word(error, 'message')} {text_of_error(error)}"
    )
    if status is None or status < 300:  # An error in the middle of a stream.
        status = status_in(body)
    code = code_of(status, words) if status is not None else code_in(words) or code_by(bases)
    if code is None:
        return None
    headers = getattr(response, "headers", None) or getattr(error, "headers", None)
    return failure(code, retry_after_of(code, headers, body, now))


def code_by(bases: list[type]) -> str | None:
    """The code for an exception by its class; ``None`` for a mistake in calling the library."""
    names = " ".join(base.__name__ for base in bases)
    if names == "HTTPException":  # http.client's, for an answer with too many headers.
        return "upstream_invalid"
    for part, code in BY_CLASS:
        if part in names:
            return code
    return "upstream_error" if "APIError" in names or "ResponseError" in names else None


UNREADABLE = {"JSONDecodeError", "UnicodeDecodeError", "ValidationError"}
READERS = {"json", "jiter", "codecs", "encodings", "pydantic", "pydantic_core", "typing"}
CHUNK_READERS = re.compile("chunk|delta|stream$|^__stream__$|event_iterator")
"""Names of the SDKs' functions that read a chunk."""


def is_unreadable(error: BaseException) -> bool:
    """Whether an SDK failed to parse a response: invalid JSON, or fields of wrong types."""
    trace, root, name = error.__traceback__, "", ""
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        if module not in READERS:
            root, found = module, trace.tb_frame.f_code.co_name
            name = name if found.startswith("<") else found  # Before 3.12, a list has a frame.
        trace = trace.tb_next
    if root not in LIBRARIES and not root.startswith("langchain"):
        return False
    if type(error).__name__ in UNREADABLE:
        return True
    return isinstance(error, ODD) and bool(CHUNK_READERS.search(name))


ODD = (AttributeError, IndexError, KeyError, TypeError, ValueError, AssertionError)


def body_of(error: BaseException, response: t.Any) -> t.Any:
    """An error's body, as far as it was read."""
    body = getattr(error, "body", None) or getattr(error, "details", None)
    if isinstance(response, dict):  # botocore
        return response
    if body is None or callable(body):
        content = getattr(response, "_content", None)  # httpx, requests
        body = read_json(content[:MAX_WORDS]) if isinstance(content, bytes) else None
    elif isinstance(body, bytes | str):
        body = read_json(body[:MAX_WORDS])
    return body


def status_of(error: BaseException, response: t.Any) -> int | None:
    given = (
        attribute(error, "status_code"),
        getattr(response, "status_code", None),
        attribute(error, "status"),
        attribute(error, "code"),
    )
    return next((it for it in given if isinstance(it, int)), None)


def word(error: BaseException, name: str) -> str:
    """An attribute of an exception, if it is a word; gRPC's ``code()`` is an enum's."""
    value = attribute(error, name)
    if callable(value):
        value = getattr(value(error), "name", None)
    return value if isinstance(value, str) else ""


def text_of_error(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # Some exceptions are made of objects that others leave out.
        return ""


def attribute(error: BaseException, name: str) -> t.Any:
    """An attribute of an exception or of its class; not a property, which may warn of being read."""
    own = getattr(error, "__dict__", {}).get(name)
    if own is None:
        own = inspect.getattr_static(type(error), name, None)
    return None if isinstance(own, property) or inspect.isdatadescriptor(own) else own


def root_of(kind: type) -> str:
    return kind.__module__.partition(".")[0]


def code_of(status: int, words: str) -> str:
    """The code for an error status and the words of its body."""
    said = code_in(words)
    if said and (status in (400, 403, 413, 422) or (status == 500 and said in ABOUT_INPUT)):
        return said
    if status < 400:
        return "upstream_invalid"
    default = "upstream_unavailable" if status >= 500 else "upstream_error"
    return BY_STATUS.get(status, default)


def code_in(words: str) -> str | None:
    found = words.lower()
    return next((code for pattern, code in BY_WORDS if pattern.search(found)), None)


WORDS = ("type", "code", "status", "message", "detail", "error_type", "Code", "Message")
MAX_WORDS = 65536
MAX_NESTED = 5


def words_of(body: t.Any, depth: int = 0) -> str:
    """Type, code and message of an error object, wherever they stand in it."""
    if isinstance(body, list | tuple):
        body = body[0] if body else None
    if isinstance(body, str):
        return "" if body.lstrip()[:1] == "<" else body[:MAX_WORDS]
    if body is None or depth > MAX_NESTED:
        return ""
    fields = fields_of(body)
    words = [fields.get(name) for name in WORDS]
    inner = (fields.get("error"), fields.get("Error"), fields.get("response"))
    words += [words_of(it, depth + 1) for it in inner if it is not None]
    return " ".join(word for word in words if isinstance(word, str))


def status_in(body: t.Any, depth: int = 0) -> int | None:
    """The HTTP status that an error object has as its code, as gateways send it in a stream."""
    if isinstance(body, list | tuple):
        body = body[0] if body else None
    if body is None or isinstance(body, str) or depth > MAX_NESTED:
        return None
    fields = fields_of(body)
    for name in ("code", "status", "status_code", "http_code", "HTTPStatusCode"):
        value = fields.get(name)
        number = (
            int(value) if isinstance(value, str) and re.fullmatch("[45][0-9]{2}", value) else value
        )
        if type(number) is int and 400 <= number < 600:
            return number
    inner = (fields.get(name) for name in ("error", "response", "ResponseMetadata"))
    found = (status_in(it, depth + 1) for it in inner if it is not None)
    return next((it for it in found if it is not None), None)


def raise_for_status(status: int, headers: t.Any, body: bytes) -> t.NoReturn:
    """
    :param body: The beginning of the body.
    :raises ProviderError: Always.
    """
    value = read_json(body)
    code = code_of(status, words_of(value))
    raise failure(code, retry_after_of(code, headers, value)) from (
        UpstreamStatus(f"The model's service answered {status}: {str(value)[:1000]}")
    )


def read_json(body: bytes | str) -> t.Any:
    """The JSON of a body, or its text."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


class UpstreamStatus(Exception):
    """The details, as ``__cause__``, for the log."""


def reported_failure(chunk: t.Any, default: str = "upstream_error") -> ProviderError:
    """Build the error for a failure that a chunk reports.

    :param default: Code of an error object without details.
    """
    words, status = words_of(chunk), status_in(chunk)
    code = code_in(words) or (code_of(status, "") if status else default)
    error = failure(code, retry_after_of(code, None, chunk))
    error.__cause__ = UpstreamStatus(f"The model's service reported: {words[:1000]}")
    return error


def raise_reported(chunk: t.Any = None) -> t.NoReturn:
    """Raise the failure that a chunk reports.

    :raises ProviderError: Always.
    """
    raise reported_failure(chunk)


def end_with_failure(error: ProviderError, events: list[Event]) -> list[Event]:
    """The last events of an answer whose last chunk has ``events`` and reports a failure.

    :raises ProviderError: There are no events.
    """
    if not events:
        raise error
    return [Failed(error.code, str(error), error.status, error.retry_after)]


def raise_incomplete() -> t.NoReturn:
    """The stream ended without an end marker.

    :raises ProviderError: Always.
    """
    raise failure("upstream_incomplete")


def raise_invalid(what: str) -> t.NoReturn:
    """
    :param what: Completes "The model's service sent …" in the log.
    :raises ProviderError: Always.
    """
    raise failure("upstream_invalid") from UpstreamStatus(f"The model's service sent {what}.")


def raise_if_error(fields: Fields | dict[t.Any, t.Any]) -> None:
    """Check a chunk without content.

    :raises ProviderError: It is an error object, in any of the forms that servers send.
    """
    get = fields.get
    if (
        get("error")
        or "error" in (get("type"), get("object"), get("status"))
        or get("detail")
        or (get("message") and (get("code") or get("status")))
    ):
        raise_reported(fields)
