"""Read the retry delay from the headers or the error object of a model's service."""

from __future__ import annotations

import math
import re
import typing as t
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

MAX_SECONDS = 86400
PASSING = {"upstream_rate_limited", "upstream_unavailable"}
"""Codes of failures that pass with time."""

DURATION = re.compile(
    r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?"
)
"""``6m0s``, ``1.5s``, ``120ms``: the resets of OpenAI, Groq and others."""
UNITS = (86400, 3600, 60, 1, 0.001)


def retry_after_of(
    code: str, headers: t.Any, body: t.Any = None, now: float | None = None
) -> float | None:
    """Seconds, by ``retry-after-ms``, ``Retry-After``, the resets of rate limits that are used up, or Google's
    ``retryDelay``; ``None``: neither contains one.

    :param code: Of the failure.
    :param now: Seconds since 1970, for a date where the response has no ``Date`` of its own.
    """
    if code not in PASSING:
        return None
    named = lower_case(headers)
    waits = (
        seconds(named.get("retry-after-ms"), 0.001),
        seconds(named.get("retry-after")),
        until(named.get("retry-after"), named.get("date"), now),
        resets(named) if code == "upstream_rate_limited" else None,
        delay_in(body),
    )
    return next((it for it in waits if it is not None), None)


def lower_case(headers: t.Any) -> dict[str, str]:
    items = getattr(headers, "items", None)
    return {str(name).lower(): str(value) for name, value in items()} if callable(items) else {}


def seconds(text: str | None, unit: float = 1) -> float | None:
    try:
        value = float(text or "nan") * unit
    except ValueError:
        return None
    return value if 0 <= value < MAX_SECONDS else None


def until(text: str | None, date: str | None, now: float | None) -> float | None:
    """
    :param text: An HTTP date.
    :param date: When it was sent.
    """
    then, sent = timestamp(text), timestamp(date)
    since = now if sent is None else sent
    if then is None or since is None:
        return None
    return max(0.0, then - since) if then - since < MAX_SECONDS else None


def timestamp(text: str | None) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except (ValueError, OverflowError):
        return None


def resets(headers: dict[str, str]) -> float | None:
    """The longest of ``x-ratelimit-reset-requests`` and ``-tokens``; of those with nothing remaining, if that is
    said."""
    found = {
        name: duration(value)
        for name, value in headers.items()
        if name.startswith("x-ratelimit-reset-")
    }
    waits = {name: it for name, it in found.items() if it is not None}
    used_up = [
        it for name, it in waits.items() if headers.get(name.replace("reset", "remaining")) == "0"
    ]
    return max(used_up or waits.values(), default=None)


def duration(text: str) -> float | None:
    match = DURATION.fullmatch(text.strip()) if text.strip() else None
    if match is None:
        return seconds(text)
    total = math.fsum(
        float(it) * unit for it, unit in zip(match.groups(), UNITS, strict=True) if it
    )
    return total if total < MAX_SECONDS else None


def delay_in(body: t.Any) -> float | None:
    """``retryDelay`` of ``google.rpc.RetryInfo``, somewhere in an error object."""
    for value in fields_named("retryDelay", body):
        if isinstance(value, str) and value.endswith("s"):
            return seconds(value[:-1])
    return None


def fields_named(name: str, value: t.Any, depth: int = 0) -> Iterator[t.Any]:
    if depth > 6:
        return
    if isinstance(value, dict):
        if name in value:
            yield value[name]
        value = list(value.values())
    if isinstance(value, list | tuple):
        for it in value[:100]:
            yield from fields_named(name, it, depth + 1)
