"""Bytes of an event stream → frames, however the bytes are cut."""

from __future__ import annotations

import codecs
import re

from flask_aistream.errors import FrameError
from flask_aistream.sse.frame import Frame
from flask_aistream.sse.frame import unchecked

BLANK_LINES = re.compile("\n{3,}")
MAX_BLOCK = 16 * 1024 * 1024
"""Characters of one block. Bounds the memory used for a block that never ends."""


class Decoder:
    """Incremental decoder: ``feed`` takes bytes and returns the frames they complete.

    A block that is incomplete when the stream ends is discarded, as the format requires.

    :ivar last_event_id: Current value for ``Last-Event-ID``; unchanged by frames without an id.

    Source: WHATWG HTML, "Parsing an event stream" and "Interpreting an event stream".
    """

    def __init__(self, max_block: int = MAX_BLOCK) -> None:
        self.last_event_id = ""
        self._retry: int | None = None
        self._max_block = max_block
        # "utf-8-sig" removes a BOM too, but only if the first chunk contains all of it.
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._partial_character = False
        self._started = False
        self._after_cr = False
        self._rest: list[str] = []  # The unfinished block; line ends are LF.
        self._rest_size = 0

    @property
    def retry(self) -> int | None:
        """Last reconnection time received, in milliseconds. Takes effect before its block ends."""
        complete_lines = "".join(self._rest).rpartition("\n")[0]
        frame = parse(complete_lines)
        return self._retry if frame is None or frame.retry is None else frame.retry

    def feed(self, data: bytes) -> list[Frame]:
        """Decode the next bytes.

        :returns: The frames of the completed blocks that have at least one field, in order.
        :raises FrameError: A block is longer than ``max_block`` characters.
        """
        if self._partial_character:
            text = self._decode(data)
        else:
            try:  # A fifth of the cost of the incremental decoder.
                text = data.decode()
            except UnicodeDecodeError:
                text = self._decode(data)
        if self._after_cr or not self._started or "\r" in text:
            text = self._normalize(text)
        if self._rest:
            if not ("\n\n" in text or (text[:1] == "\n" and self._rest[-1][-1] == "\n")):
                self._keep(text)
                return []
            text = "".join([*self._rest, text])
            self._rest, self._rest_size = [], 0
        if "\n\n\n" in text:
            text = BLANK_LINES.sub("\n\n", text)
        # A block may begin with an LF, where three or more line ends stood in a row between two chunks.
        *blocks, rest = text.split("\n\n")
        if rest:
            self._keep(rest)
        return self._frames(blocks) if blocks else []

    def _decode(self, data: bytes) -> str:
        text = self._utf8.decode(data)
        self._partial_character = bool(self._utf8.getstate()[0])
        return text

    def _normalize(self, text: str) -> str:
        """``text`` with LF as its only line end, and without the BOM of the stream."""
        if not text:
            return text
        if not self._started:
            self._started = True
            text = text.removeprefix("\ufeff")
        if self._after_cr:
            # The last chunk ended with CR, which ended its line. This LF is the second half of a CRLF.
            text = text.removeprefix("\n")
        self._after_cr = text.endswith("\r")
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def _keep(self, text: str) -> None:
        if text:
            self._rest.append(text)
            self._rest_size += len(text) - text.count("\n")
            self._check(self._rest_size)

    def _frames(self, blocks: list[str]) -> list[Frame]:
        frames = []
        for block in blocks:
            if len(block) > self._max_block:
                self._check(len(block) - block.count("\n"))
            if block.startswith("data: ") and "\n" not in block:  # Nearly every block there is.
                frames.append(unchecked(block[6:], None, None, None))
            elif (frame := parse(block)) is not None:
                frames.append(frame)
                if frame.id is not None:
                    self.last_event_id = frame.id
                if frame.retry is not None:
                    self._retry = frame.retry
        return frames

    def _check(self, size: int) -> None:
        if size > self._max_block:
            raise FrameError(
                f"A block of the event stream is larger than {self._max_block} characters."
            )


def parse(block: str) -> Frame | None:
    """The frame of a block's lines; ``None`` if they hold no field."""
    data: list[str] = []
    event: str | None = None
    id: str | None = None
    retry: int | None = None
    for line in block.split("\n"):
        name, _, value = line.partition(":")
        if value[:1] == " ":
            value = value[1:]
        if name == "data":
            data.append(value)
        elif name == "event":
            event = value
        elif name == "id":
            if "\0" not in value:
                id = value
        # Longer numbers mean nothing, and int() raises on very long ones.
        elif name == "retry" and value.isascii() and value.isdigit() and len(value) <= 15:
            retry = int(value)
        # "" is a comment; an unknown name is ignored.
    if not (data or event) and id is None and retry is None:
        return None
    return unchecked("\n".join(data) if data else None, event or None, id, retry)
