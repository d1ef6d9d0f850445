"""Events of an application's own → events of JSON values, the same for every store."""

from __future__ import annotations

import datetime
import decimal
import math
import typing as t
import uuid
from collections import deque
from collections.abc import Mapping
from collections.abc import Set
from dataclasses import fields
from dataclasses import is_dataclass
from dataclasses import replace
from enum import Enum

from flask_aistream.core import events as ev
from flask_aistream.core.events import Json
from flask_aistream.errors import ValueInvalid

MAX_DEPTH = 100

MAX_BITS = 2048
"""Of an integer. Python refuses to read longer ones (from 640 digits on, by its settings)."""

AS_TEXT = (decimal.Decimal, uuid.UUID)
DATES = (datetime.datetime, datetime.date, datetime.time)


FIELDS: dict[type, dict[str, str]] = {
    kind: {field.name: str(field.type) for field in fields(t.cast(t.Any, kind))}
    for kind in ev.EVENTS
    if kind is not str
}
"""Event → field → its annotation."""


def normalized(event: t.Any) -> t.Any:
    """``event`` with JSON in its fields.

    :raises ValueInvalid: A field has no JSON form, or is no text or number where the event defines one.
    """
    kind = type(event)
    changed = {}
    for name, annotation in FIELDS[kind].items():
        value = getattr(event, name)
        normal = normal_field(value, annotation, f"{kind.__name__}.{name}")
        if normal is not value:
            changed[name] = normal
    return replace(event, **changed) if changed else event


def normal_field(value: t.Any, annotation: str, path: str) -> t.Any:
    if annotation.startswith("Json"):
        return to_json_value(value, path)
    if annotation.startswith("int"):
        return None if value is None else number(value, path)
    if type(value) is str or (value is None and annotation.endswith("None")):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, uuid.UUID) or (type(value) is int and path.endswith(".id")):
        return str(value)
    if annotation.startswith("str"):
        raise ValueInvalid(f"{path} is a {type(value).__qualname__} instead of a string")
    return value


def number(value: t.Any, path: str) -> int:
    try:
        same = int(value) == value and not isinstance(value, str)
    except (TypeError, ValueError, OverflowError):
        same = False
    if not same or int(value).bit_length() > MAX_BITS:
        raise ValueInvalid(f"{path} is {value!r:.100} instead of a whole number")
    return int(value)


def to_json_value(value: t.Any, path: str = "the value", depth: int = 0) -> Json:
    """``value`` as it is in every store and for every client.

    Decimals, UUIDs, dates and times become strings, durations seconds; pydantic models, dataclasses and classes of
    attrs objects; enums their values; numpy's numbers and arrays numbers and lists; sets and tuples lists; NaN and
    infinity ``null``.

    :param path: Its name in the error.
    :raises ValueInvalid: It has no JSON form, or is nested deeper than 100 levels.
    """
    if value is None or value is True or value is False:
        return value
    kind = type(value)
    if kind is str:
        return value
    if kind is int and value.bit_length() <= MAX_BITS:
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
        if value.bit_length() > MAX_BITS:
            raise ValueInvalid(f"{path[:200]} is an integer of more than {MAX_BITS} bits")
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
    if isinstance(value, list | tuple | Set | range | deque):
        return [to_json_value(it, f"{path}[{place}]", depth) for place, it in enumerate(value)]
    if isinstance(value, type):
        raise ValueInvalid(f"{path} is the class {value.__qualname__}")
    if callable(dump := getattr(value, "model_dump", None)):  # pydantic
        return to_json_value(dump(), path, depth)
    if is_dataclass(value):
        named = {field.name: getattr(value, field.name) for field in fields(value)}
        return to_json_value(named, path, depth)
    if attributes := getattr(type(value), "__attrs_attrs__", None):
        return to_json_value({it.name: getattr(value, it.name) for it in attributes}, path, depth)
    package = type(value).__module__.partition(".")[0]
    if package == "numpy" and hasattr(value, "tolist"):
        return to_json_value(value.tolist(), path, depth)
    if package in ("pydantic", "pydantic_core") and "Url" in type(value).__name__:
        return str(value)
    raise ValueInvalid(f"{path} is a {type(value).__module__}.{type(value).__qualname__}")


def key_of(key: t.Any, path: str) -> str:
    if isinstance(key, Enum):
        key = key.value
    if isinstance(key, str):
        return str(key)
    if isinstance(key, bool) or key is None:
        return {True: "true", False: "false", None: "null"}[key]
    if isinstance(key, int | float | decimal.Decimal | uuid.UUID):
        if isinstance(key, int) and key.bit_length() > MAX_BITS:
            raise ValueInvalid(f"{path[:200]} has a key of more than {MAX_BITS} bits")
        return str(key)
    if isinstance(key, DATES):
        return key.isoformat()
    raise ValueInvalid(f"{path} has the key {key!r}, a {type(key).__qualname__}"[:300])
