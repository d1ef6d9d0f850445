"""Decode the body of a model's HTTP response: an event stream, lines of JSON, or one JSON value."""

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
from flask_aistream.providers.failure import raise_for_status
from flask_aistream.providers.failure import raise_incomplete
from flask_aistream.providers.failure import raise_invalid
from flask_aistream.providers.failure import raise_reported
from flask_aistream.providers.fast_json import loads
from flask_aistream.providers.wires import wire_of
from flask_aistream.sse.decode import Decoder

MAX_EVENT = 16 * 1024 * 1024
"""Characters of one event or line: more than any image in base64, and a bound for an endless line."""

MAX_ERROR = 64 * 1024
"""Bytes of an error's body that are read."""

DONE = object()
LAST = frozenset(("message_stop", "response.completed", "response.incomplete", "response.failed"))
"""Types of the last event of a stream."""

DECODER = json.JSONDecoder()
BLANK_LINES = re.compile("\n{2,}")
BOM = b"\xef\xbb\xbf"
SPACE = b" \t\r\n"


class BodyReader:
    """Decodes one response: feed it the body, it yields events.

    :ivar complete: The end marker was read. The rest of the body can be skipped.
    :ivar odd: Number of ignored chunks, by a description.
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
    def is_error(self) -> bool:
        """Whether the status is not 2xx."""
        return self._status >= 300

    def raise_for_status(self, body: bytes) -> t.NoReturn:
        """
        :raises ProviderError: Always, with a code by the status and ``body``.
        """
        raise_for_status(self._status, self._headers, body)

    def feed(self, data: bytes) -> Iterator[Event]:
        """
        :raises ProviderError: The service reports an error, or the body is not an answer of a model.
        """
        if self._decode is None:
            self._start += data
            self._decode = decoder_of(self._start, self._headers)
            if self._decode is None:
                return
            data, self._start = self._start.removeprefix(BOM), b""
        yield from self._events(self._decode.feed(data))

    def end(self) -> Iterator[Event]:
        """Decode the rest, at the end of the body.

        :raises ProviderError: ``upstream_incomplete``: the body has no end marker.
        """
        if self._decode is not None:
            yield from self._events(self._decode.end())
        if self.complete:
            return
        if self._adapter is None and self.odd:
            raise_invalid("an answer in a format that is not known")
        if self._adapter is None or self._adapter.incomplete or not self._adapter.answer.ended:
            raise_incomplete()
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
                    raise_invalid("an answer in a format that is not known")
                self.complete = True
                return
            else:
                count(self.odd, type(value).__name__)

    def _recognize(self, value: dict[str, t.Any]) -> WireAdapter | None:
        """Choose the adapter by the first event of a known format."""
        factory = wire_of(value)
        if factory is None:
            if value.get("type") == "ping":
                return None
            self._unknown += 1
            if self._unknown > MAX_UNKNOWN:
                raise_invalid("an answer in a format that is not known")
            count(self.odd, f"an object with {', '.join(map(str, list(value)[:5]))}")
            return None
        self._adapter = factory(self._accounting)
        return self._adapter


MAX_UNKNOWN = 10_000
"""Maximum number of unknown objects at the beginning of an answer."""

MAX_KINDS = 100
"""Maximum number of descriptions of ignored chunks."""


def count(odd: Counter[str], what: str) -> None:
    known = what[:200]
    odd[known if known in odd or len(odd) < MAX_KINDS else "others"] += 1


ODD = (AttributeError, IndexError, KeyError, TypeError, ValueError)
"""Raised by adapters for chunks whose fields have other types than the format defines."""


class EventStream:
    def __init__(self) -> None:
        self._decoder = Decoder(MAX_EVENT)

    def feed(self, data: bytes) -> Iterator[t.Any]:
        try:
            frames = self._decoder.feed(data)
        except FrameError:
            raise_invalid(f"an event larger than {MAX_EVENT} characters")
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
                raise_reported()
            yield value

    def end(self) -> Iterator[t.Any]:
        # An unfinished block is dropped, as the format requires; some servers omit the last blank line.
        yield from self.feed(b"\n\n")


class JsonLines:
    """One JSON value per line (Ollama), or one value in several lines. A list yields its items."""

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
            raise_invalid(f"a line larger than {MAX_EVENT} characters")
        self._rest.append(text)
        if self._whole or "\n" not in text:
            return
        *lines, rest = "".join(self._rest).split("\n")
        for number, line in enumerate(lines):
            if not line.strip():
                continue
            value = parsed(line)
            if isinstance(value, Unparsed):  # The first line of a value in several lines.
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
    """JSON values without line ends between them, up to the first invalid one."""
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
    """Text that is not valid JSON."""


def parsed(text: str) -> t.Any:
    try:
        return loads(text)
    except (ValueError, RecursionError):
        return Unparsed(text[:100])


def decoder_of(start: bytes, headers: t.Any) -> EventStream | JsonLines | None:
    """Choose the decoder by the first byte, since servers send wrong content types.

    :returns: ``None`` before the first byte has arrived.
    :raises ProviderError: The body is an HTML page.
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
            raise_invalid("nothing but space")
    if text[:1] == b"<" or "html" in content_type:
        raise_invalid("a page instead of an answer")
    if text[:1] in (b"{", b"["):
        return JsonLines()
    return EventStream()
