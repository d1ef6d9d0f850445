"""Parse an untrusted JSON body strictly, after limits on its size and depth."""

from __future__ import annotations

import itertools
import json
import math
import re
import typing as t

from flask_aistream.errors import RequestError

NOT_BRACKETS = re.compile(r"[^\[\]{}]+")
LEVELS = {"[": 1, "{": 1, "]": -1, "}": -1}

DIGITS = 309
"""Characters of the largest double as an integer."""


def loads(data: bytes, *, depth: int | None, values: int | None) -> t.Any:
    """The value of a JSON text.

    :param depth: Maximum nesting of arrays and objects; ``None``: as deep as Python can parse.
    :param values: Maximum number of values; ``None``: unlimited. An empty object takes 16 times its size in memory.
    :raises RequestError: It is not JSON, or exceeds a limit.
    """
    try:
        text = data.decode().removeprefix("\ufeff")
        check_shape(text, depth, values)
        return DECODER.decode(text)
    except RecursionError:
        raise too_deep() from None
    except ValueError as error:
        if isinstance(error, RequestError):
            raise
        raise RequestError(
            f"The body is not JSON ({error}). Send an object such as "
            '{"prompt": "Hello"} with Content-Type: application/json.',
            "body_invalid",
        ) from None


def check_shape(text: str, depth: int | None, values: int | None) -> None:
    """Reject a text with too many values or levels, before any object is created.

    A text with few brackets and commas is only counted. Others take 2 to 8 ms a megabyte; parsing takes 1 ms if they are one
    string, and more than the check if they are many values.

    :raises RequestError: It exceeds a limit.
    """
    few = values is None or separators(text) < values
    flat = depth is None or text.count("[") + text.count("{") <= depth
    if few and flat:  # Nearly every request, even if all of that were text.
        return
    if "\\" in text:
        # Escaped backslashes first: what is left of a run of them escapes the character after it.
        text = text.replace("\\\\", "").replace('\\"', "")
    # Each value may have a key, and a string has two quotes.
    if values is not None and text.count('"') > 4 * values:
        raise too_many(values)
    rest = "".join(text.split('"')[::2])  # Without the strings, also one that is never closed.
    if values is not None and separators(rest) >= values:
        raise too_many(values)
    if depth is not None and nesting(rest) > depth:
        raise too_deep()


def separators(text: str) -> int:
    """Commas and opening brackets: at least the number of values, less one."""
    return text.count(",") + text.count("[") + text.count("{")


def nesting(text: str) -> int:
    """The deepest nesting of brackets."""
    brackets = NOT_BRACKETS.sub("", text)
    return max(itertools.accumulate(map(LEVELS.__getitem__, brackets)), default=0)


def too_many(values: int) -> RequestError:
    return RequestError(
        f"The body has more than {values} values, the limit of this server.", "body_invalid"
    )


def too_deep() -> RequestError:
    return RequestError("The body is JSON nested too deeply.", "body_invalid")


def refuse_constant(name: str) -> t.NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:20]} is too large a number")
    return value


def whole(text: str) -> int:
    """An integer within the range of a double, as in other JSON parsers. Longer ones take Python quadratic time."""
    if len(text) > DIGITS:
        raise ValueError(f"{text[:20]} is too large a number")
    return int(text)


# Made once: json.loads makes a decoder for each call with these options.
DECODER = json.JSONDecoder(parse_constant=refuse_constant, parse_float=finite, parse_int=whole)
