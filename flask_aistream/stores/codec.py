"""Neighbouring events ⇄ one JSON array.

Text is by far the most frequent event, so neighbouring texts become one string, in an array of its own,
that begins with the mark between them: ``[["|Hel|lo"]]``. One string encodes faster than many.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from json.encoder import encode_basestring_ascii

from flask_aistream.core.codec import from_json
from flask_aistream.core.codec import to_json
from flask_aistream.core.events import Event

MARKS = "|~^"
"""Characters that may separate texts; the first that none of them contains."""


def freeze(event: Event) -> Event:
    """The event as every process reads it: the application may change its own value after the yield.

    :raises TypeError: A value of the application has no form in JSON.
    """
    return event if type(event) is str else from_json(json.loads(encode_event(event)))


def encode(events: Sequence[Event]) -> str:
    """All ASCII: U+0000 and half a surrogate pair survive any database."""
    try:
        # All of them text, nearly always: no Python code runs for a token.
        return f"[{encode_texts(events)}]"  # type: ignore[arg-type]
    except TypeError:
        return f"[{','.join(map(encode_event, events))}]"


def encode_event(event: Event) -> str:
    return encode_basestring_ascii(event) if type(event) is str else json.dumps(to_json(event))


def encode_texts(texts: Sequence[str]) -> str:
    """
    :raises TypeError: Not all of them are text.
    """
    if len(texts) == 1:
        return encode_basestring_ascii(texts[0])
    for mark in MARKS:
        joined = mark.join(texts)
        if joined.count(mark) == len(texts) - 1:
            return f"[{encode_basestring_ascii(mark + joined)}]"
    return ",".join(map(encode_basestring_ascii, texts))


def decode(data: str | bytes) -> list[Event]:
    """The inverse of :func:`encode`; also of several results in one array.

    :raises ValueError, LookupError, TypeError: Another program, or a newer version, has written it.
    """
    events: list[Event] = []
    for value in json.loads(data):
        if type(value) is list:
            (joined,) = value
            events += joined[1:].split(joined[0])
        else:
            events.append(value if type(value) is str else from_json(value))
    return events
