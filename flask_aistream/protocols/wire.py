"""JSON encoding for event streams: one line of ASCII."""

from __future__ import annotations

import json
import math
import re
import typing as t

# ASCII on one line survives any line splitter and any chunking of the bytes. NaN is invalid JSON, and a
# client would fail on the whole stream. Values without a JSON form (dates, UUIDs) are converted by str():
# raising here would break every reader of a log that is already written.
ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False, skipkeys=True, default=str)


def dumps(value: t.Any) -> str:
    """One line of ASCII JSON."""
    try:
        return replace_lone_surrogates(ENCODER.encode(value))
    except ValueError:
        return replace_lone_surrogates(ENCODER.encode(null_non_finite(value)))


def replace_lone_surrogates(text: str) -> str:
    """ASCII JSON without lone surrogates, which strict parsers (Rust, Swift) reject."""
    if "\\ud" not in text:
        return text
    return SURROGATES.sub(lambda match: match[1] or "\\ufffd", text)


# Group 1 is what stays: a surrogate pair, or any other escape (also an escaped backslash before "ud83d").
SURROGATES = re.compile(
    r"(\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|\\[^u]|\\u(?!d[89a-f]))|\\ud[89a-f][0-9a-f]{2}"
)


def null_non_finite(value: t.Any) -> t.Any:
    """``value`` with NaN and infinities replaced by null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: null_non_finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [null_non_finite(item) for item in value]
    return value


def data_frame(value: t.Any) -> str:
    """An unnamed frame with ``value`` as its payload."""
    return f"data: {dumps(value)}\n\n"
