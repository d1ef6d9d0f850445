"""SDK values → plain ones: what JSON accepts, and objects whose fields can be read."""

from __future__ import annotations

import base64
import math
import typing as t
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import fields
from dataclasses import is_dataclass
from enum import Enum
from types import SimpleNamespace

from flask_aistream.core.events import Json


def plain(value: t.Any) -> Json:
    """``value`` as ``json.dumps`` accepts it; what has no JSON form is left to ``str``.

    Fields that are ``None`` are left out of objects, as vendors' SDKs declare many more fields than
    an answer has.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    if hasattr(value, "model_dump"):
        return plain(value.model_dump(exclude_none=True))
    if is_dataclass(value) and not isinstance(value, type):
        return plain({field.name: getattr(value, field.name) for field in fields(value)})
    if isinstance(value, Mapping):
        return {str(name): plain(it) for name, it in value.items() if it is not None}
    if isinstance(value, SimpleNamespace):
        return plain(vars(value))
    if isinstance(value, Iterable):
        return [plain(it) for it in value]
    return str(value)


def readable(value: t.Any) -> t.Any:
    """Plain JSON as objects with attributes, so that one adapter serves objects and dicts.

    Attributes that are not there are read with ``getattr(…, None)`` throughout the adapters.
    """
    if isinstance(value, dict):
        return SimpleNamespace(**{str(name): readable(it) for name, it in value.items()})
    if isinstance(value, list | tuple):
        return [readable(it) for it in value]
    return value


def field_of(value: t.Any, name: str) -> t.Any:
    """A field of an object or, where an SDK does not know the type, of a dict; else ``None``."""
    return value.get(name) if isinstance(value, dict) else getattr(value, name, None)


def fields_of(value: t.Any) -> t.Mapping[str, t.Any]:
    """Every field of a chunk, those its SDK does not declare included; a dict is its own fields."""
    if isinstance(value, dict):
        return value
    declared: dict[str, t.Any] = value.__dict__
    # pydantic keeps undeclared fields apart; vendors that copy OpenAI's format add many.
    more = getattr(value, "__pydantic_extra__", None)
    return {**declared, **more} if more else declared


def data_url(media_type: str | None, data: str | bytes) -> str:
    """
    :param data: The bytes, or base64 text of them.
    """
    text = base64.b64encode(data).decode() if isinstance(data, bytes) else data
    return f"data:{media_type or 'application/octet-stream'};base64,{text}"
