"""JSON → values, with orjson where it is installed (extra ``upstream``)."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Callable


def fastest() -> Callable[[str], t.Any]:
    try:
        from orjson import loads
    except ImportError:
        return json.loads
    return t.cast("Callable[[str], t.Any]", loads)


quick = fastest()


def loads(text: str) -> t.Any:
    """
    :raises ValueError: This is no JSON.
    """
    try:
        return quick(text)
    except ValueError:
        # orjson refuses half a character (a lone surrogate) and NaN.
        return json.loads(text)
