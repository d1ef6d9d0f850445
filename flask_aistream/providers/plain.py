"""Convert values of SDKs to JSON values, and read fields of objects and of plain JSON alike."""

from __future__ import annotations

import base64
import datetime
import functools
import math
import typing as t
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import fields
from dataclasses import is_dataclass
from enum import Enum
from types import SimpleNamespace

from flask_aistream.core.events import Json

MAX_DEPTH = 100


def plain(value: t.Any, depth: int = 0) -> Json:
    """Convert a value for ``json.dumps``. A value without a JSON form becomes its ``str``.

    Omits fields that are ``None``, since SDKs declare many more fields than an answer has, and values that are nested
    deeper than 100 levels.
    """
    if depth > MAX_DEPTH:
        return None
    depth += 1
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Enum):
        return plain(value.value, depth)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    if hasattr(value, "model_dump"):
        return plain(value.model_dump(exclude_none=True), depth)
    if is_dataclass(value) and not isinstance(value, type):
        return plain({field.name: getattr(value, field.name) for field in fields(value)}, depth)
    if isinstance(value, Mapping):
        return {str(name): plain(it, depth) for name, it in value.items() if it is not None}
    if isinstance(value, SimpleNamespace):
        return plain(vars(value), depth)
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if value.__class__.__module__ == "numpy" and hasattr(value, "tolist"):
        return plain(value.tolist(), depth)
    if isinstance(value, Iterable):
        return [plain(it, depth) for it in value]
    return str(value)


class Fields(t.Protocol):
    """The fields of an object or a JSON object, also those that its SDK does not declare."""

    def get(self, name: str, /) -> t.Any: ...


class Attributes:
    """Fields that are properties or slots of an object."""

    __slots__ = ("_value",)

    def __init__(self, value: object) -> None:
        self._value = value

    def get(self, name: str, /) -> t.Any:
        return getattr(self._value, name, None)


NONE: dict[str, t.Any] = {}


def fields_of(value: t.Any) -> Fields:
    """The fields of ``value``; for plain JSON and most SDKs' objects, the dict that contains them.

    A value without fields (``None``, a string, a list) has none, so malformed chunks raise nothing.
    """
    if type(value) is dict or type(value) is Attributes:
        return t.cast("Fields", value)
    declared: dict[str, t.Any] | None = getattr(value, "__dict__", None)
    if declared and not has_properties(value.__class__):
        # pydantic keeps undeclared fields apart; vendors that copy OpenAI's format add many.
        more = getattr(value, "__pydantic_extra__", None)
        return {**declared, **more} if more else declared
    if value is None or isinstance(value, str | bytes | int | float | list | tuple):
        return NONE
    return value if isinstance(value, Mapping) else Attributes(value)


@functools.lru_cache(maxsize=256)
def has_properties(kind: type) -> bool:
    """Whether fields of ``kind`` are properties (azure-ai-inference); pydantic's are not."""
    if hasattr(kind, "model_fields") or hasattr(kind, "__fields__"):
        return False
    public = {name: it for base in kind.__mro__ for name, it in vars(base).items()}
    return any(
        hasattr(it, "__get__") and hasattr(it, "__set__") and not name.startswith("_")
        for name, it in public.items()
    )


def field_of(value: t.Any, name: str) -> t.Any:
    """One field of an object or a JSON object; ``None`` if it does not exist."""
    return fields_of(value).get(name)


def items_of(value: t.Any) -> t.Sequence[t.Any]:
    """The items of a list; an empty sequence for any other value."""
    return value if isinstance(value, list | tuple) else ()


def text_of(value: t.Any) -> str:
    """A string unchanged; ``""`` for any other value."""
    return value if isinstance(value, str) else ""


def count_of(value: t.Any, name: str) -> int | None:
    """The number in a field of ``value``; ``None`` if it is not a finite number."""
    count = fields_of(value).get(name)
    return int(count) if isinstance(count, int | float) and math.isfinite(count) else None


def data_url(media_type: str | None, data: str | bytes) -> str:
    """
    :param data: The bytes, or base64 text of them.
    """
    text = base64.b64encode(data).decode() if isinstance(data, bytes) else data
    return f"data:{media_type or 'application/octet-stream'};base64,{text}"
