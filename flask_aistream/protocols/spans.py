"""What several dialects have in common: text and reasoning are spans that open and close.

A run only says deltas. A dialect built on ``SpanEncoder`` says how a span opens, what a delta in it
looks like and how it closes; when that happens is decided here. Text deltas, by far the most frequent
event, are cut out of the dialect's own frame once a span and then only joined.
"""

from __future__ import annotations

import abc
import typing as t
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from json.encoder import encode_basestring_ascii as quote

from flask_aistream.core import events as ev
from flask_aistream.protocols.base import EncoderContext
from flask_aistream.protocols.wire import data_frame

Json = dict[str, t.Any]

TEXT = "text"
REASONING = "reasoning"


class SpanEncoder(abc.ABC):
    """Stateful: it must see a run from its first record on."""

    def __init__(self, context: EncoderContext) -> None:
        self.context = context
        self._span: str | None = None
        self._head = ""
        self._tail = ""

    def encode(self, first: int, events: Sequence[ev.Event]) -> bytes:
        frames: list[str] = []
        for event in events:
            if type(event) is str:
                if self._span != TEXT:
                    frames += map(self.frame, self.switch_span(TEXT))
                frames.append(f"{self._head}{quote(event)}{self._tail}")
            else:
                frames += map(self.frame, self.encode_event(event))
        return "".join(frames).encode("ascii")

    def gap(self, first: int) -> bytes:
        return "".join(map(self.frame, self.encode_gap(first))).encode("ascii")

    def switch_span(self, span: str | None) -> Iterator[Json]:
        """Close the open span, if it is another one, and open ``span``."""
        if span == self._span:
            return
        if self._span:
            yield from self.close_span(self._span)
        self._span = span
        if span:
            yield from self.open_span(span)
            head, _, tail = self.frame_template(self.encode_delta(span, "")).rpartition('""')
            self._head, self._tail = head, tail

    def encode_reasoning(self, event: ev.Reasoning) -> Iterator[Json]:
        yield from self.switch_span(REASONING)
        yield self.encode_delta(REASONING, event.text)

    def frame_template(self, value: Json) -> str:
        """The frame of ``value``, where only a delta in it changes."""
        return data_frame(value)

    def frame(self, value: Json) -> str:
        """The frame of ``value``. Called once for every frame that is sent, except for text."""
        return self.frame_template(value)

    @abc.abstractmethod
    def encode_event(self, event: ev.Event) -> Iterable[Json]:
        """The payloads of one event that is not text."""

    @abc.abstractmethod
    def open_span(self, span: str) -> Iterable[Json]: ...

    @abc.abstractmethod
    def encode_delta(self, span: str, text: str) -> Json:
        """One delta. ``text`` is the last string in it that can be empty."""

    @abc.abstractmethod
    def close_span(self, span: str) -> Iterable[Json]: ...

    @abc.abstractmethod
    def encode_gap(self, first: int) -> Iterable[Json]:
        """What to say where the records before number ``first`` were trimmed away."""
