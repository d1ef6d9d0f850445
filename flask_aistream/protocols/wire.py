"""JSON as it may stand in an event stream."""

from __future__ import annotations

import json
import math
import re
import typing as t

# One line of ASCII is safe for every line splitter and every cut of the bytes. NaN is no JSON, and one
# of it would end a client's whole stream. What an application puts into its data and JSON has no word
# for (a date, a UUID) is said as Python would print it: failing here would break every reader of a
# log that is already written.
ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False, skipkeys=True, default=str)


def dumps(value: t.Any) -> str:
    """One line of ASCII JSON."""
    try:
        return replace_lone_surrogates(ENCODER.encode(value))
    except ValueError:
        return replace_lone_surrogates(ENCODER.encode(null_non_finite(value)))


def replace_lone_surrogates(text: str) -> str:
    """ASCII JSON without halves of characters: a strict parser (Rust's, Swift's) refuses it for one."""
    if "\\ud" not in text:
        return text
    return SURROGATES.sub(lambda found: found[1] or "\\ufffd", text)


# What may stay is in the group: a pair, and any other escape, also of a backslash before "ud83d".
SURROGATES = re.compile(
    r"(\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|\\[^u]|\\u(?!d[89a-f]))|\\ud[89a-f][0-9a-f]{2}"
)


def null_non_finite(value: t.Any) -> t.Any:
    """``value`` with null for every number that JSON cannot write."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: null_non_finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [null_non_finite(item) for item in value]
    return value


def data_frame(value: t.Any) -> str:
    """An unnamed frame whose payload is ``value``."""
    return f"data: {dumps(value)}\n\n"
