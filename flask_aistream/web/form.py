"""A form → the fields of a JSON body."""

from __future__ import annotations

import re
import typing as t
from collections.abc import Mapping

from werkzeug.datastructures import MultiDict

from flask_aistream.errors import RequestError
from flask_aistream.web import json_body
from flask_aistream.web.config import Settings

KEY_OF_OBJECT = re.compile(r"(\w+)\[(\w+)\]")
ITEM_OF_LIST = re.compile(r"(\w+)\[\]")


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
