"""A form → the fields of a JSON body."""

from __future__ import annotations

import binascii
import re
import typing as t
from collections.abc import Mapping

from werkzeug.datastructures import MultiDict

from flask_aistream.errors import RequestError
from flask_aistream.web import json_body
from flask_aistream.web.config import Settings

KEY_OF_OBJECT = re.compile(r"(\w+)\[(\w+)\]")
ITEM_OF_LIST = re.compile(r"(\w+)\[\]")

STRAY = re.compile(rb"%(?![0-9A-Fa-f]{2})")
MAX_STRAY = 10_000
"""Percent signs that begin no escape. ``curl -d 'prompt=50% off'`` sends one; each costs an object."""


def parse_urlencoded(data: bytes) -> MultiDict[str, str]:
    """The fields of a form in ``application/x-www-form-urlencoded``.

    Not by urllib: it makes an object of each escape, which take 300 MB and 0.6 s for the escapes of 4 MB.

    :raises RequestError: It has too many percent signs that are not escaped.
    """
    pairs = (field.partition(b"=") for field in data.split(b"&") if field)
    return MultiDict((unescaped(name), unescaped(value)) for name, _, value in pairs)


def unescaped(data: bytes) -> str:
    data = data.replace(b"+", b" ")
    if b"%" in data:
        data = STRAY.sub(b"%25", data, count=MAX_STRAY)
        if STRAY.search(data):
            raise RequestError(
                "The form has percent signs that are not escaped as `%25`.", "body_invalid"
            )
        # Quoted-printable differs in nothing but the character that begins an escape.
        data = binascii.a2b_qp(data.replace(b"=", b"=3D").replace(b"%", b"="))
    return data.decode("utf-8", "replace")


def read_form(
    form: MultiDict[str, str], types: Mapping[str, tuple[type, ...]], settings: Settings
) -> dict[str, t.Any]:
    """The fields of a form, as they would be in a JSON body.

    Besides ``name=value``, a field of an object may be ``name[key]=value``, and an item of a list ``name[]=value``.

    :param types: JSON types of the fields that are not text. A value that is not of them stays text.
    """
    fields: dict[str, t.Any] = {}
    for name, values in form.lists():
        inner, item = KEY_OF_OBJECT.fullmatch(name), ITEM_OF_LIST.fullmatch(name)
        if inner and dict in types.get(inner[1], ()):
            fields.setdefault(inner[1], {})
            if isinstance(fields[inner[1]], dict):
                fields[inner[1]][inner[2]] = values[0]
        elif item and list in types.get(item[1], ()):
            fields[item[1]] = values
        else:
            fields[name] = read_value(values[0], types.get(name, (str,)), settings)
    return fields


def read_value(text: str, types: tuple[type, ...], settings: Settings) -> t.Any:
    if types == (str,):
        return text
    try:
        value = json_body.loads(
            text.encode(), depth=settings.max_json_depth, values=settings.max_json_values
        )
    except RequestError:
        return text
    return value if type(value) in types else text
