"""The events of one run that are in memory, and the readers that wait for more.

A buffer has three marks, each the number of a record: ``handed ≥ durable ≥ visible``. What lies before
``handed`` was given to the writer, before ``durable`` the database has acknowledged it, and before
``visible`` readers may see it. A log without a database behind it has all three at :data:`END`.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import sys
import typing as t
from collections.abc import Sequence
from contextlib import AbstractContextManager

from flask_aistream.core.events import TERMINAL
from flask_aistream.core.events import Event
from flask_aistream.core.events import Terminal
from flask_aistream.core.page import Page
from flask_aistream.core.run import Run
from flask_aistream.errors import CursorInvalid
from flask_aistream.stores.base import PAGE
from flask_aistream.stores.base import Wake
from flask_aistream.stores.limits import Limits

END = sys.maxsize
"""A mark behind every record that is or will be there."""

MEASURE_EVENTS = 256
"""Events after which the bytes of a log are counted: counting with every token would cost as much as the token."""


class LogBuffer:
    """What every log is read from, wherever it is kept.

    When it exceeds its limits, the oldest quarter is dropped; a reader before that gets a gap. Records
    that are not durable are never dropped.

    :param limits: Its ``max_events`` and ``log_bytes`` count.
    :ivar first: Number of the oldest record kept.
    :ivar size: See ``Log.size``.
    """

    def __init__(
        self,
        run: Run,
        events: Sequence[Event],
        limits: Limits,
        lock: AbstractContextManager[object],
    ) -> None:
        self.run = run
        self.ended = False
        self.first = 0
        self.handed = self.durable = self.visible = END
        self._events: list[Event] = list(events)
        self._max_events = limits.max_events or math.inf
        self._max_bytes = limits.log_bytes or math.inf
        self.size = 0
        self._bytes = 0
        self._measured = 0  # Events whose bytes are counted.
        self._measure_at: float = 0
        self._waiting: dict[Wake, None] = {}
        self._waiting_for_end: dict[Wake, None] = {}
        self._lock = lock

    @property
    def next(self) -> int:
        """Number of the record to come."""
        return self.first + len(self._events)

    @property
    def tail(self) -> int:
        """Number of the last visible record."""
        return min(self.next, self.visible) - 1

    @property
    def terminal(self) -> Terminal | None:
        last = self._events[-1] if self._events else None
        return last if isinstance(last, TERMINAL) else None

    def read(self, after: int, limit: int = PAGE) -> Page:
        with self._lock:
            end = self.next
            # A reader elsewhere may have seen a record before it is visible here.
            if after >= end:
                raise CursorInvalid(f"{self.run.id}:{after}", self.tail)
            start = max(after + 1, self.first)
            stop = min(start + limit, self.visible)
            events = self._events[start - self.first : max(stop - self.first, 0)]
            return Page(start, events, self.ended and start + len(events) == end)

    def notify(self, after: int, wake: Wake) -> None:
        with self._lock:
            news = self.tail > after
            if not news:
                self._waiting[wake] = None
        if news:
            wake()

    def notify_end(self, wake: Wake) -> None:
        with self._lock:
            ended = self.ended
            if not ended:
                self._waiting_for_end[wake] = None
        if ended:
            wake()

    def forget(self, wake: Wake) -> None:
        with self._lock:
            self._waiting.pop(wake, None)
            self._waiting_for_end.pop(wake, None)

    def _wake(self) -> None:
        waiting: dict[Wake, None] = {}
        try:
            with self._lock:
                waiting, self._waiting = self._waiting, {}
                if self.ended:
                    waiting |= self._waiting_for_end
                    self._waiting_for_end = {}
            for wake in waiting:
                wake()
        except BaseException:
            # A stop may interrupt the provider's thread right here, and these readers are in no list any
            # more. Waking a reader twice does no harm.
            for wake in waiting:
                wake()
            raise

    def _restart(self, first: int) -> None:
        """Continue at number ``first``: the records before it do not exist any more."""
        self._events = []
        self.first = first
        self._bytes = self._measured = 0

    def _trim(self) -> None:
        """Called with the lock held, when there are more than ``_measure_at`` events."""
        count = len(self._events)
        if count > self._max_events:
            self._drop(count - int(self._max_events * 3 / 4))
        self._trim_bytes()

    def _trim_bytes(self) -> None:
        new = max(len(self._events) - self._measured, 1)
        mean = self._measure() / new
        if self._bytes > self._max_bytes:
            surplus, count = self._bytes - self._max_bytes * 3 / 4, 0
            while surplus > 0 and count < len(self._events):
                surplus -= bytes_of(self._events[count : count + 1])
                count += 1
            self._drop(count)
        # Where events are large, the bytes are counted again sooner.
        room = (self._max_bytes - self._bytes) / 4
        step = MEASURE_EVENTS if mean * MEASURE_EVENTS < room else max(room // mean, 1)
        self._measure_at = min(self._max_events, len(self._events) + step)
        if self._bytes > self._max_bytes and self.durable < self.next:
            self._measure_at = 0  # The rest is dropped once it is durable.

    def _measure(self) -> int:
        """:returns: Bytes that were appended since the last call."""
        new = self._events[self._measured :]
        added = bytes_of(new) if new else 0
        self._bytes += added
        self.size += added
        self._measured += len(new)
        return added

    def _drop(self, count: int) -> None:
        """Drop the oldest records, except for the very last one."""
        count = max(min(count, len(self._events) - 1, self.durable - self.first), 0)
        measured = min(count, self._measured)
        self._bytes -= bytes_of(self._events[:measured])
        self._measured -= measured
        del self._events[:count]
        self.first += count


def bytes_of(events: Sequence[Event]) -> int:
    """Their approximate length as JSON."""
    try:
        text = len("".join(events))  # type: ignore[arg-type]
    except TypeError:
        text = sum(map(length, events))
    return text + 3 * len(events)


def length(event: Event) -> int:
    if isinstance(event, str):
        return len(event)
    kind: t.Any = type(event)
    return sum(len(str(getattr(event, name))) for name in names_of(kind))


@functools.cache
def names_of(kind: type) -> tuple[str, ...]:
    """The names of an event's fields. Every log begins with an event that is measured."""
    return tuple(field.name for field in dataclasses.fields(kind))
