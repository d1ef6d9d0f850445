"""How neighbouring events of a run lie in a database: as a JSON array, all ASCII.

A text is a string, any other event an object. Texts that follow one another lie together in one string, as a
list of its own, ``["|Hel|lo"]``: the first character is what stands between them. That is less to encode,
to write and to read.
"""

from __future__ import annotations

import json
import typing as t
from collections.abc import Sequence
from json.encoder import encode_basestring_ascii

from flask_aistream.core.codec import from_json
from flask_aistream.core.codec import to_json
from flask_aistream.core.events import Event


class Encoded(t.NamedTuple):
    """An event that is no text, as JSON: what it holds may change once it has been said."""

    json: str


EncodedEvent = str | Encoded
"""An event on its way into the database."""

MARKS = "|~^"
"""What may stand between texts, unless one of them has it."""


def ready(event: Event) -> EncodedEvent:
    """
    :raises TypeError: An application's own value is none that JSON has.
    """
    return event if type(event) is str else Encoded(json.dumps(to_json(event)))


def join(said: Sequence[EncodedEvent]) -> str:
    """A NUL or half a surrogate pair survives any database."""
    try:
        # All of them text, as nearly always: nothing is done in Python for a token.
        return f"[{texts(said)}]"  # type: ignore[arg-type]
    except TypeError:
        parts = [it.json if isinstance(it, Encoded) else encode_basestring_ascii(it) for it in said]
        return f"[{','.join(parts)}]"


def texts(said: Sequence[str]) -> str:
    """
    :raises TypeError: Not all of them are text.
    """
    if len(said) == 1:
        return encode_basestring_ascii(said[0])
    for mark in MARKS:
        together = mark.join(said)
        if together.count(mark) == len(said) - 1:
            return f"[{encode_basestring_ascii(mark + together)}]"
    return ",".join(map(encode_basestring_ascii, said))


def decode(data: str | bytes) -> list[Event]:
    """What :func:`join` has made, or several of them in one array."""
    events: list[Event] = []
    for value in json.loads(data):
        if type(value) is list:
            (together,) = value
            events += together[1:].split(together[0])
        else:
            events.append(value if type(value) is str else from_json(value))
    return events
