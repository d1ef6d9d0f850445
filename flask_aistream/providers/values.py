"""Values that an application yields in ``Data``, ``ToolCall`` and ``ToolResult`` → JSON, the same for every
store."""

from __future__ import annotations

import datetime
import decimal
import math
import typing as t
import uuid
from collections.abc import Mapping
from collections.abc import Set
from dataclasses import fields
from dataclasses import is_dataclass
from enum import Enum

from flask_aistream.core.events import Json
from flask_aistream.errors import ValueInvalid

MAX_DEPTH = 100
AS_TEXT = (decimal.Decimal, uuid.UUID)
DATES = (datetime.datetime, datetime.date, datetime.time)


def to_json_value(value: t.Any, path: str = "the value", depth: int = 0) -> Json:
    """``value`` as it is in every store and for every client.

    Decimals, UUIDs, dates and times become strings; pydantic models and dataclasses objects; enums their
    values; numpy's numbers and arrays numbers and lists; sets and tuples lists; NaN and infinity ``null``.

    :param path: Its name in the error.
    :raises ValueInvalid: It has no JSON form, or is nested deeper than 100 levels.
    """
    if value is None or value is True or value is False:
        return value
    kind = type(value)
    if kind is str or kind is int:
        return value
    if depth > MAX_DEPTH:
        raise ValueInvalid(f"{path[:200]} is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Enum):
        return to_json_value(value.value, path, depth + 1)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, AS_TEXT):
        return str(value)
    if isinstance(value, DATES):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    return container(value, path, depth + 1)


def container(value: t.Any, path: str, depth: int) -> Json:
    if isinstance(value, Mapping):
        return {
            key_of(key, path): to_json_value(it, f"{path}[{key!r}]", depth)
            for key, it in value.items()
        }
    if isinstance(value, list | tuple | Set):
        return [to_json_value(it, f"{path}[{place}]", depth) for place, it in enumerate(value)]
    if isinstance(value, type):
        raise ValueInvalid(f"{path} is the class {value.__qualname__}")
    if callable(dump := getattr(value, "model_dump", None)):  # pydantic
        return to_json_value(dump(), path, depth)
    if is_dataclass(value):
        named = {field.name: getattr(value, field.name) for field in fields(value)}
        return to_json_value(named, path, depth)
    if type(value).__module__.partition(".")[0] == "numpy" and hasattr(value, "tolist"):
        return to_json_value(value.tolist(), path, depth)
    raise ValueInvalid(f"{path} is a {type(value).__module__}.{type(value).__qualname__}")


def key_of(key: t.Any, path: str) -> str:
    if isinstance(key, Enum):
        key = key.value
    if isinstance(key, str):
        return str(key)
    if isinstance(key, bool) or key is None:
        return {True: "true", False: "false", None: "null"}[key]
    if isinstance(key, int | float | decimal.Decimal | uuid.UUID):
        return str(key)
    if isinstance(key, DATES):
        return key.isoformat()
    raise ValueInvalid(f"{path} has the key {key!r}, a {type(key).__qualname__}"[:300])
