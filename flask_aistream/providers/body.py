"""The bytes of an answer → events: an event stream, lines of JSON, or one JSON value."""

from __future__ import annotations

import codecs
import json
import re
import typing as t
from collections import Counter
from collections.abc import Iterator

from flask_aistream.core.events import Event
from flask_aistream.errors import FrameError
from flask_aistream.providers.accounting import Accounting
from flask_aistream.providers.base import WireAdapter
from flask_aistream.providers.failure import failed
from flask_aistream.providers.failure import incomplete
from flask_aistream.providers.failure import invalid
from flask_aistream.providers.failure import refuse_status
from flask_aistream.providers.fast_json import loads
from flask_aistream.providers.wires import wire_of
from flask_aistream.sse.decode import Decoder

MAX_EVENT = 16 * 1024 * 1024
"""Characters of one event or line: more than any image in base64, and a bound for an endless line."""

MAX_ERROR = 64 * 1024
"""Bytes of an error's body that are read."""

DONE = object()
LAST = frozenset(("message_stop", "response.completed", "response.incomplete", "response.failed"))
"""Types of events that nothing follows."""

DECODER = json.JSONDecoder()
BLANK_LINES = re.compile("\n{2,}")
BOM = b"\xef\xbb\xbf"
SPACE = b" \t\r\n"


class BodyReader:
    """One answer. Feed it the body; it gives events.

    :ivar complete: The end marker came. Nothing more need be read.
    :ivar odd: Kinds of chunks that were not understood, and how many.
    """

    def __init__(self, status: int, headers: t.Any, accounting: Accounting) -> None:
        self._status = status
        self._headers = headers
        self._accounting = accounting
        self._accounting.stream = self
        self._start = b""
        self._decode: EventStream | JsonLines | None = None
        self._adapter: WireAdapter | None = None
        self._unknown = 0
        self.complete = False
        self.odd: Counter[str] = Counter()

    @property
    def refused(self) -> bool:
        """Whether the status is that of an error."""
        return self._status >= 300

    def refuse(self, body: bytes) -> t.NoReturn:
        """
        :raises ProviderError: Always, with a code by the status and ``body``.
        """
        refuse_status(self._status, self._headers, body)

    def feed(self, data: bytes) -> Iterator[Event]:
        """
        :raises ProviderError: The service reports an error, or this is no answer of a model.
        """
        if self._decode is None:
            self._start += data
            self._decode = decoder_of(self._start, self._headers)
            if self._decode is None:
                return
            data, self._start = self._start.removeprefix(BOM), b""
        yield from self._events(self._decode.feed(data))

    def end(self) -> Iterator[Event]:
        """The body has ended.

        :raises ProviderError: ``upstream_incomplete``: without an end marker.
        """
        if self._decode is not None:
            yield from self._events(self._decode.end())
        if self.complete:
            return
        if self._adapter is None and self.odd:
            invalid("an answer in a format that is not known")
        if self._adapter is None or self._adapter.incomplete or not self._adapter.answer.ended:
            incomplete()
        yield from self._adapter.done()

    def _events(self, values: t.Iterable[t.Any]) -> Iterator[Event]:
        for value in values:
            if type(value) is dict:
                adapter = self._adapter or self._recognize(value)
                if adapter is not None:
                    try:
                        events = adapter.events(value)
                    except ODD as error:
                        count(self.odd, f"{type(error).__name__}: {error}")
                        continue
                    yield from events
                    kind = value.get("type")
                    if (kind.__class__ is str and kind in LAST) or value.get("done") is True:
                        self.complete = True
                        return
            elif value is DONE:
                if self._adapter is not None:
                    yield from self._adapter.done()
                elif self.odd:
                    invalid("an answer in a format that is not known")
                self.complete = True
                return
            else:
                count(self.odd, type(value).__name__)

    def _recognize(self, value: dict[str, t.Any]) -> WireAdapter | None:
        """The adapter for this answer, chosen by its first event that belongs to a known wire."""
        factory = wire_of(value)
        if factory is None:
            if value.get("type") == "ping":
                return None
            self._unknown += 1
            if self._unknown > MAX_UNKNOWN:
                invalid("an answer in a format that is not known")
            count(self.odd, f"an object with {', '.join(map(str, list(value)[:5]))}")
            return None
        self._adapter = factory(self._accounting)
        return self._adapter


MAX_UNKNOWN = 10_000
"""Objects of no known wire that an answer may begin with."""

MAX_KINDS = 100
"""Descriptions of odd chunks that are kept."""


def count(odd: Counter[str], what: str) -> None:
    known = what[:200]
    odd[known if known in odd or len(odd) < MAX_KINDS else "others"] += 1


ODD = (AttributeError, IndexError, KeyError, TypeError, ValueError)
"""Raised by a chunk whose fields have other types than its wire defines."""


class EventStream:
    def __init__(self) -> None:
        self._decoder = Decoder(MAX_EVENT)

    def feed(self, data: bytes) -> Iterator[t.Any]:
        try:
            frames = self._decoder.feed(data)
        except FrameError:
            invalid(f"an event larger than {MAX_EVENT} characters")
        for frame in frames:
            text = frame.data
            if not text:
                continue
            if text[0] == "[" and text.strip() == "[DONE]":
                yield DONE
                continue
            value = parsed(text)
            if isinstance(value, Unparsed) and "\n" in text:
                # Some servers leave out the blank lines between events.
                for line in text.split("\n"):
                    yield DONE if line.strip() == "[DONE]" else parsed(line)
                continue
            if frame.event == "error" and not (isinstance(value, dict) and "type" in value):
                failed()
            yield value

    def end(self) -> Iterator[t.Any]:
        # An unfinished block is dropped, as the format requires; some servers omit the last blank line.
        yield from self.feed(b"\n\n")


class JsonLines:
    """A JSON value a line (Ollama), or one value over all lines; of a list, its items."""

    def __init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest: list[str] = []
        self._size = 0
        self._whole = False

    def feed(self, data: bytes) -> Iterator[t.Any]:
        text = self._utf8.decode(data)
        if "\n\n" in text:
            text = BLANK_LINES.sub("\n", text)
        self._size += len(text)
        if self._size > MAX_EVENT:
            invalid(f"a line larger than {MAX_EVENT} characters")
        self._rest.append(text)
        if self._whole or "\n" not in text:
            return
        *lines, rest = "".join(self._rest).split("\n")
        for number, line in enumerate(lines):
            if not line.strip():
                continue
            value = parsed(line)
            if isinstance(
                value, Unparsed
            ):  # The first line of a value that is printed over several.
                self._whole = True
                rest = "\n".join([*lines[number:], rest])
                break
            yield value
        self._rest, self._size = [rest], len(rest)

    def end(self) -> Iterator[t.Any]:
        text = "".join(self._rest).strip()
        if text:
            value = parsed(text)
            if isinstance(value, Unparsed):
                yield from joined(text)
            else:
                yield from value if isinstance(value, list) else (value,)


def joined(text: str) -> Iterator[t.Any]:
    """Values of JSON with anything but LF between them, as far as they can be read."""
    position = 0
    while position < len(text):
        try:
            value, position = DECODER.raw_decode(text, position)
        except (ValueError, RecursionError):
            yield Unparsed(text[position : position + 100])
            return
        yield value
        while text[position : position + 1].isspace():
            position += 1


class Unparsed(str):
    """Text that is no JSON."""


def parsed(text: str) -> t.Any:
    try:
        return loads(text)
    except (ValueError, RecursionError):
        return Unparsed(text[:100])


def decoder_of(start: bytes, headers: t.Any) -> EventStream | JsonLines | None:
    """By the first byte, as servers misname their content types; ``None``: it has not come yet.

    :raises ProviderError: This is a page.
    """
    if len(start) < len(BOM) and BOM.startswith(start):
        return None
    text = start.removeprefix(BOM).lstrip(SPACE)
    content_type = str(headers.get("Content-Type") or headers.get("content-type") or "").lower()
    is_named = "event-stream" in content_type
    if not text:
        if len(start) <= MAX_ERROR:
            return None
        if not is_named:
            invalid("nothing but space")
    if text[:1] == b"<" or "html" in content_type:
        invalid("a page instead of an answer")
    if text[:1] in (b"{", b"["):
        return JsonLines()
    return EventStream()
