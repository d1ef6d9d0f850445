"""JSON as it may stand in an event stream."""

from __future__ import annotations

import json
import math
import typing as t

# One line of ASCII is safe for every line splitter and every cut of the bytes. NaN is no JSON, and one
# of it would end a client's whole stream. What an application puts into its data and JSON has no word
# for (a date, a UUID) is said as Python would print it: failing here would break every reader of a
# log that is already written.
ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False, skipkeys=True, default=str)


def dumps(value: t.Any) -> str:
    """One line of ASCII JSON."""
    try:
        return ENCODER.encode(value)
    except ValueError:
        return ENCODER.encode(finite(value))


def finite(value: t.Any) -> t.Any:
    """``value`` with null for every number that JSON cannot write."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


def data_frame(value: t.Any) -> str:
    """An unnamed frame whose payload is ``value``."""
    return f"data: {dumps(value)}\n\n"
