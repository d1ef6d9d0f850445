"""JSON → values, with orjson or msgspec where one of them is installed (extra ``fast``)."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Callable


def fastest() -> Callable[[str], t.Any]:
    try:
        from orjson import loads
    except ImportError:
        pass
    else:
        return t.cast("Callable[[str], t.Any]", loads)
    try:
        from msgspec.json import decode
    except ImportError:
        return json.loads
    return t.cast("Callable[[str], t.Any]", decode)


quick = fastest()


def loads(text: str) -> t.Any:
    """
    :raises ValueError: This is no JSON.
    """
    try:
        return quick(text)
    except ValueError:
        # Half a character (a lone surrogate), NaN and integers of any length are refused by the fast ones.
        return json.loads(text)
