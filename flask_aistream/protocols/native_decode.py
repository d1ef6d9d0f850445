"""Frames of the native protocol → events. The inverse of ``protocols/native.py``."""

from __future__ import annotations

import json
import typing as t
from dataclasses import MISSING
from dataclasses import fields

from flask_aistream.core import events as ev
from flask_aistream.protocols.native import EVENT_NAMES
from flask_aistream.sse.frame import Frame

EVENT_TYPES = {name: kind for kind, name in EVENT_NAMES.items()}


def decode_event(frame: Frame, failure: dict[str, str]) -> ev.Event | None:
    """The event in ``frame``; ``None`` for a frame without one (a gap).

    :param failure: Payload of the ``failure`` frame before it, which an ``error`` end refers to.
    """
    value = json.loads(frame.data or "")
    if frame.event is None:
        return decode_end(value["reason"], failure) if "action" in value else value["text"]
    kind = EVENT_TYPES.get(frame.event)
    if kind is None:
        return None
    # The encoder leaves out optional fields that are None, and writes required ones as null.
    given = {
        field.name: value.get(field.name)
        for field in fields(kind)
        if field.name in value or field.default is MISSING
    }
    return t.cast(ev.Event, kind(**given))


def decode_end(reason: t.Any, failure: dict[str, str]) -> ev.Terminal:
    """The terminal event of an ``action: "terminate"`` frame."""
    match reason:
        case "error":
            return ev.Failed(failure["code"], failure["message"])
        case "stopped":
            return ev.Stopped()
        case "interrupted":
            return ev.Interrupted()
        case _:
            return ev.Finished(reason)
