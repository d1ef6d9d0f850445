"""What a vendor's wire format has to say about a story."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Iterator

from tests.upstream.stories import Cut
from tests.upstream.stories import Pause
from tests.upstream.stories import Story

Json = dict[str, t.Any]
Frames = Iterator["bytes | Pause | Cut"]

CREATED = 1760000000


class WireProtocol(t.Protocol):
    """A module with these names. Pure: the server does the waiting and the writing."""

    CONTENT_TYPE: str

    def frames(self, story: Story, model: str, body: Json) -> Frames:
        """The streamed answer. ``Pause`` and ``Cut`` are passed on to the server."""
        ...

    def whole(self, story: Story, model: str, body: Json) -> Json:
        """The answer that is not streamed."""
        ...

    def error(self, status: int, message: str) -> Json:
        """The body of an HTTP error."""
        ...


def dumps(value: t.Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def data(value: t.Any) -> bytes:
    """One frame of an event stream without a name."""
    return f"data: {dumps(value)}\n\n".encode()


def named(event: str, value: t.Any) -> bytes:
    return f"event: {event}\ndata: {dumps(value)}\n\n".encode()
