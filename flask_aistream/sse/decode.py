"""Bytes of an event stream → frames. Incremental: a chunk may end anywhere."""

from __future__ import annotations

import codecs
import typing as t

from flask_aistream.errors import FrameError
from flask_aistream.sse.frame import Frame

MAX_BLOCK = 16 * 1024 * 1024
"""Characters of one block. Bounds the memory used for a block that never ends."""


class Decoder:
    """Incremental decoder: ``feed`` takes bytes and returns the frames they complete.

    A block that is incomplete when the stream ends is discarded, as the format requires.

    :ivar last_event_id: Current value for ``Last-Event-ID``; unchanged by frames without an id.
    :ivar retry: Last reconnection time received, in milliseconds.

    Source: WHATWG HTML, "Parsing an event stream" and "Interpreting an event stream".
    """

    def __init__(self, max_block: int = MAX_BLOCK) -> None:
        self.last_event_id = ""
        self.retry: int | None = None
        self._max_block = max_block
        # "utf-8-sig" removes a BOM too, but only if the first chunk contains all of it.
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._started = False
        self._after_cr = False
        self._rest: list[str] = []
        self._block = Block()
        self._size = 0

    def feed(self, data: bytes) -> list[Frame]:
        """Decode the next bytes.

        :returns: The frames of the completed blocks that have at least one field, in order.
        :raises FrameError: A block is longer than ``max_block`` characters.
        """
        text = self._utf8.decode(data)
        if text and not self._started:
            self._started = True
            text = text.removeprefix("\ufeff")
        if text and self._after_cr:
            # The last chunk ended with CR, which ended its line. This LF is the second half of a CRLF.
            self._after_cr = False
            text = text.removeprefix("\n")
        if text.endswith("\r"):
            self._after_cr = True
        return list(self._frames(text))

    def _frames(self, text: str) -> t.Iterator[Frame]:
        *lines, rest = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        for line in lines:
            self._grow(len(line))
            line = "".join([*self._rest, line])
            self._rest = []
            if line:
                self._take(line)
            else:
                yield from self._dispatch()
        if rest:
            self._rest.append(rest)
            self._grow(len(rest))

    def _take(self, line: str) -> None:
        self._block.take(line)
        # Takes effect at once; an id takes effect at the end of its block.
        if self._block.retry is not None:
            self.retry = self._block.retry

    def _dispatch(self) -> t.Iterator[Frame]:
        block, self._block, self._size = self._block, Block(), 0
        if block.id is not None:
            self.last_event_id = block.id
        if block.seen:
            data = "\n".join(block.data) if block.data else None
            yield Frame(data, block.event or None, block.id, block.retry)

    def _grow(self, by: int) -> None:
        self._size += by
        if self._size > self._max_block:
            raise FrameError(
                f"A block of the event stream is larger than {self._max_block} characters."
            )


class Block:
    """The fields of one block so far."""

    def __init__(self) -> None:
        self.data: list[str] = []
        self.event: str | None = None
        self.id: str | None = None
        self.retry: int | None = None

    @property
    def seen(self) -> bool:
        return bool(self.data or self.event or self.id is not None or self.retry is not None)

    def take(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:  # "" is a comment. Unknown names are ignored.
            case "data":
                self.data.append(value)
            case "event":
                self.event = value
            case "id" if "\0" not in value:
                self.id = value
            # Longer numbers are meaningless, and int() raises on very long ones.
            case "retry" if value.isascii() and value.isdigit() and len(value) <= 15:
                self.retry = int(value)
