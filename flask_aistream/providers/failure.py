"""Failures of a model's service → codes, statuses and sentences for a person.

Exceptions are recognised by the module of their class, error objects by their fields; no SDK is
imported. The vendor's own words are for its customer: they go to the log, never to clients.
"""

from __future__ import annotations

import json
import math
import re
import typing as t

from flask_aistream.errors import ProviderError
from flask_aistream.providers.plain import Fields
from flask_aistream.providers.plain import fields_of

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
}

# In the type, code or message of an error object; the first row that is found counts.
BY_WORDS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), code)
    for pattern, code in (
        (
            r"context_length|context length|context window|context_window|prompt is too long"
            r"|maximum number of tokens|too many tokens|input is too long|exceeds? the (model's )?max",
            "context_too_long",
        ),
        (
            r"content_filter|content_policy|content management|responsibleai|prohibited_content"
            r"|blocklist",
            "content_refused",
        ),
        (
            r"rate_limit|too_many_requests|resource_exhausted|insufficient_quota",
            "upstream_rate_limited",
        ),
        (
            r"authentication_error|permission_error|invalid_api_key|unauthenticated"
            r"|permission_denied|api key not valid",
            "upstream_auth",
        ),
        (r"overloaded_error|unavailable|service_unavailable", "upstream_unavailable"),
        (r"timeout_error|deadline_exceeded", "upstream_timeout"),
    )
)

LIBRARIES = frozenset(
    [
        "aiohttp",
        "anthropic",
        "azure",
        "cohere",
        "google",
        "groq",
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
        "urllib3",
    ]
)
"""Packages whose exceptions are those of a model's service, or of the way to it."""

# Parts of the names of exceptions without a status; the first row that fits counts.
BY_CLASS = (
    ("Timeout", "upstream_timeout"),
    ("Decod", "upstream_invalid"),
    ("TooManyRedirects", "upstream_invalid"),
    ("ResponseValidation", "upstream_invalid"),
    ("IncompleteRead", "upstream_unavailable"),
    ("Connect", "upstream_unavailable"),
    ("Disconnect", "upstream_unavailable"),
    ("Protocol", "upstream_unavailable"),
    ("Payload", "upstream_unavailable"),
    ("Chunked", "upstream_unavailable"),
    ("MaxRetry", "upstream_unavailable"),
    ("ReadError", "upstream_unavailable"),
    ("WriteError", "upstream_unavailable"),
    ("CloseError", "upstream_unavailable"),
    ("SSL", "upstream_unavailable"),
    ("Proxy", "upstream_unavailable"),
    ("Network", "upstream_unavailable"),
    ("Transport", "upstream_unavailable"),
)


def failure(code: str, retry_after: float | None = None) -> ProviderError:
    status, sentence = FAILURES[code]
    return ProviderError(code, sentence, status=status, retry_after=retry_after)


def failure_of(error: BaseException) -> ProviderError | None:
    """The failure that an exception of a known library means; ``None`` for any other exception."""
    bases = [base for base in type(error).__mro__ if root_of(base) in LIBRARIES]
    if not bases:
        return None
    response = getattr(error, "response", None)
    status = next((it for it in statuses(error, response) if isinstance(it, int)), None)
    body = getattr(error, "body", None) or getattr(error, "details", None)
    words = words_of(body) or f"{getattr(error, 'code', '')} {getattr(error, 'message', '')}"
    retry_after = retry_after_of(getattr(response, "headers", None), body)
    if status is not None and status >= 300:
        return failure(code_of(status, words), retry_after)
    if code := code_in(words):  # An error in the middle of a stream has no status.
        return failure(code, retry_after)
    names = " ".join(base.__name__ for base in bases)
    for part, code in BY_CLASS:
        if part in names:
            return failure(code)
    # The rest are mistakes in calling the library, but for errors of the service itself.
    return failure("upstream_error") if "APIError" in names or "ResponseError" in names else None


def statuses(error: BaseException, response: t.Any) -> tuple[t.Any, ...]:
    return (
        getattr(error, "status_code", None),
        getattr(response, "status_code", None),
        getattr(error, "status", None),
        getattr(error, "code", None),
    )


def root_of(kind: type) -> str:
    return kind.__module__.partition(".")[0]


def code_of(status: int, words: str) -> str:
    """The code for an error status and the words of its body."""
    if status in (400, 403, 413, 422) and (code := code_in(words)):
        return code
    if status < 400:
        return "upstream_invalid"
    default = "upstream_unavailable" if status >= 500 else "upstream_error"
    return BY_STATUS.get(status, default)


def code_in(words: str) -> str | None:
    found = words.lower()
    return next((code for pattern, code in BY_WORDS if pattern.search(found)), None)


def words_of(body: t.Any) -> str:
    """Type, code and message of an error object, wherever they stand in it."""
    if isinstance(body, list | tuple):
        body = body[0] if body else None
    if isinstance(body, str):
        return body
    if body is None:
        return ""
    fields = fields_of(body)
    words = [fields.get(name) for name in ("type", "code", "status", "message", "detail")]
    text = " ".join(word for word in words if isinstance(word, str))
    error = fields.get("error")
    return f"{text} {words_of(error)}" if error is not None else text


def retry_after_of(headers: t.Any, body: t.Any = None) -> float | None:
    """Seconds, by ``Retry-After`` (a date is left out), or by Google's ``retryDelay``."""
    get = getattr(headers, "get", None)
    value = (get("retry-after") or get("Retry-After")) if get else None
    if value is None:
        found = re.search(r"retryDelay'?\"?: ?'?\"?([0-9.]+)s", str(body)) if body else None
        value = found[1] if found else None
    try:
        seconds = float(value) if value is not None else math.nan
    except (TypeError, ValueError):
        return None
    return seconds if 0 <= seconds < 86400 else None


def refuse_status(status: int, headers: t.Any, body: bytes) -> t.NoReturn:
    """
    :param body: Its beginning.
    :raises ProviderError: Always.
    """
    text = body.decode("utf-8", "replace")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    raise failure(code_of(status, words_of(value)), retry_after_of(headers, value)) from (
        UpstreamStatus(f"The model's service answered {status}: {text[:1000]}")
    )


class UpstreamStatus(Exception):
    """The cause, for the log."""


def failed(chunk: t.Any = None) -> t.NoReturn:
    """A chunk reports that the model failed.

    :raises ProviderError: Always.
    """
    words = words_of(chunk)
    raise failure(code_in(words) or "upstream_error") from UpstreamStatus(
        f"The model's service reported: {words[:1000]}"
    )


def incomplete() -> t.NoReturn:
    """The stream ended without an end marker.

    :raises ProviderError: Always.
    """
    raise failure("upstream_incomplete")


def invalid(what: str) -> t.NoReturn:
    """
    :param what: The service sent, for the log.
    :raises ProviderError: Always.
    """
    raise failure("upstream_invalid") from UpstreamStatus(f"The model's service sent {what}.")


def refuse_error(fields: Fields | dict[t.Any, t.Any]) -> None:
    """Check a chunk that has nothing of an answer.

    :raises ProviderError: It is an error object, in any of the forms servers send.
    """
    get = fields.get
    if (
        get("error")
        or "error" in (get("type"), get("object"), get("status"))
        or get("detail")
        or (get("message") and (get("code") or get("status")))
    ):
        failed(fields)
