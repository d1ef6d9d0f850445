"""Chunks as lines of JSON, and back as objects that look the same to an adapter.

An adapter looks at where a class comes from and at fields; so a thawed object has a class of that name
in a module of that name, and those fields, without the SDK.
"""

from __future__ import annotations

import base64
import functools
import typing as t
from collections.abc import Mapping
from enum import Enum

# Objects of which only this much is kept: they drag whole runs behind them.
KEPT = {"AgentRunResult": ("usage", "response")}
DEEP = 12


def freeze(value: t.Any, depth: int = 0) -> t.Any:
    """``value`` as JSON."""
    if value is None or isinstance(value, bool | int | float) or type(value) is str:
        return value
    if isinstance(value, Enum):
        return (
            value.value if isinstance(value, str) else {"$": path_of(value), "value": value.value}
        )
    if isinstance(value, bytes):
        return {"$": "bytes", "base64": base64.b64encode(value).decode()}
    if isinstance(value, tuple):
        return {"$": "tuple", "items": [freeze(it, depth + 1) for it in value]}
    if isinstance(value, list):
        return [freeze(it, depth + 1) for it in value]
    if type(value) is dict:
        items = {str(name): freeze(it, depth + 1) for name, it in value.items()}
        return {"$": "dict", "items": items}
    if not hasattr(value, "__dict__") or depth > DEEP:
        return str(value)
    return frozen_object(value, depth)


def frozen_object(value: t.Any, depth: int) -> t.Any:
    if names := KEPT.get(type(value).__name__):
        fields = {name: read(value, name) for name in names if hasattr(value, name)}
    else:
        fields = {name: it for name, it in vars(value).items() if not name.startswith("_")}
    frozen = {name: freeze(it, depth + 1) for name, it in fields.items()}
    more = getattr(value, "__pydantic_extra__", None)
    if more:
        frozen["__pydantic_extra__"] = freeze(dict(more), depth + 1)
    return {"$": path_of(value), **frozen}


def read(value: t.Any, name: str) -> t.Any:
    field = getattr(value, name)
    return field() if callable(field) and not hasattr(field, "input_tokens") else field


def path_of(value: t.Any) -> str:
    return f"{type(value).__module__}:{type(value).__name__}"


def thaw(value: t.Any) -> t.Any:
    """The inverse, but for the classes, which are made up."""
    if isinstance(value, list):
        return [thaw(it) for it in value]
    if not isinstance(value, Mapping):
        return value
    fields = dict(value)
    kind = fields.pop("$")
    if kind == "dict":
        return {name: thaw(it) for name, it in fields["items"].items()}
    if kind == "tuple":
        return tuple(thaw(it) for it in fields["items"])
    if kind == "bytes":
        return base64.b64decode(fields["base64"])
    thawed = class_of(kind)()
    thawed.__dict__.update({name: thaw(it) for name, it in fields.items()})
    return thawed


def to_json(value: t.Any) -> t.Any:
    """What was frozen, as the service sent it: without classes."""
    if isinstance(value, list):
        return [to_json(it) for it in value]
    if not isinstance(value, Mapping):
        return value
    fields = dict(value)
    kind = fields.pop("$", None)
    if kind == "bytes":
        return fields["base64"]
    if kind in ("dict", "tuple"):
        return to_json(fields["items"])
    if kind and list(fields) == ["value"]:  # An enum.
        return fields["value"]
    extra = fields.pop("__pydantic_extra__", None)
    declared = {name: to_json(it) for name, it in fields.items()}
    return declared | to_json(extra) if extra else declared


def fake(kind: str, **fields: t.Any) -> t.Any:
    """An object that passes for one of ``module:Class``, with these fields as they are."""
    made = class_of(kind)()
    made.__dict__.update(fields)
    return made


class Thawed:
    """Reads undeclared fields as pydantic's models do."""

    def __getattr__(self, name: str) -> t.Any:
        more = self.__dict__.get("__pydantic_extra__") or {}
        if name not in more:
            raise AttributeError(name)
        return more[name]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({vars(self)})"


@functools.cache
def class_of(path: str) -> type:
    module, _, name = path.partition(":")
    return type(name, (Thawed,), {"__module__": module})
