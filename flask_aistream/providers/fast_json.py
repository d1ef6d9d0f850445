"""Parse JSON with orjson if it is installed (extra ``upstream``), otherwise with ``json``."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Callable


def fastest_parser() -> Callable[[str], t.Any]:
    try:
        from orjson import loads
    except ImportError:
        return json.loads
    return t.cast("Callable[[str], t.Any]", loads)


parse = fastest_parser()


def loads(text: str) -> t.Any:
    """
    :raises ValueError: ``text`` is not valid JSON.
    """
    try:
        return parse(text)
    except ValueError:
        # orjson rejects lone surrogates and NaN.
        return json.loads(text)
