"""Read one field of a request body; errors name JSON types."""

from __future__ import annotations

import typing as t

from flask_aistream.errors import RequestError

JSON_TYPES: dict[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}


def json_type(value: t.Any) -> str:
    """The JSON type of ``value``, with its article."""
    return type_name(type(value))


def type_name(kind: type) -> str:
    """The JSON name of a Python type, with its article."""
    return JSON_TYPES.get(kind, "another type")


def text_field(body: t.Mapping[str, t.Any], name: str) -> str | None:
    """The string field ``name``; ``None`` if it is absent or null.

    :raises RequestError: It has another type.
    """
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise wrong_type(name, value, "a string")
    return value


def flag_field(body: t.Mapping[str, t.Any], name: str) -> bool:
    """The boolean field ``name``; False if it is absent or null.

    :raises RequestError: It has another type.
    """
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise wrong_type(name, value, "a boolean")
    return bool(value)


def other_fields(body: t.Mapping[str, t.Any], own: t.Container[str]) -> dict[str, t.Any]:
    """The fields of ``body`` that the protocol does not define; they become the provider's params."""
    return {name: value for name, value in body.items() if name not in own}


def wrong_type(name: str, value: t.Any, wanted: str) -> RequestError:
    return RequestError(
        f"`{name}` is {json_type(value)} but must be {wanted}.", f"{name}_invalid", 422
    )


def missing_field(name: str, wanted: str) -> RequestError:
    return RequestError(f"`{name}` is missing; it must be {wanted}.", f"{name}_missing", 422)
