"""The records of one log that are in memory, and the readers that wait for more."""

from __future__ import annotations

import dataclasses
import math
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

LOOK = 256
"""Events after which the bytes of a log are counted: a token does not pay for a bound."""


class LogBuffer:
    """What every log can be read from, wherever it is kept.

    When there is more than the bounds say, the oldest quarter is trimmed away; readers that have not
    come so far are told a gap.

    :param bounds: Its ``max_events`` and ``log_bytes`` count.
    """

    def __init__(
        self,
        run: Run,
        events: Sequence[Event],
        bounds: Limits,
        lock: AbstractContextManager[object],
    ) -> None:
        self.run = run
        self.ended = False
        self._events: list[Event] = list(events)
        self._trimmed = 0
        self._most = bounds.max_events or math.inf
        self._most_bytes = bounds.log_bytes or math.inf
        self._bytes = 0
        self._counted = 0
        self._look_at: float = 0 if bounds.log_bytes else self._most
        self._waiting: dict[Wake, None] = {}
        self._waiting_for_end: dict[Wake, None] = {}
        self._lock = lock

    @property
    def tail(self) -> int:
        """Number of the last record."""
        return self._trimmed + len(self._events) - 1

    @property
    def terminal(self) -> Terminal | None:
        last = self._events[-1] if self._events else None
        return last if isinstance(last, TERMINAL) else None

    def read(self, after: int, limit: int = PAGE) -> Page:
        with self._lock:
            start = after + 1 - self._trimmed
            if start > len(self._events) and start > len(self._events) + self._on_the_way():
                raise CursorInvalid(f"{self.run.id}:{after}", self.tail)
            if start < 0:
                start = 0
            events = self._events[start : start + limit]
            ended = self.ended and start + len(events) == len(self._events)
            return Page(start + self._trimmed, events, ended)

    def _on_the_way(self) -> int:
        """Events that readers elsewhere may have seen before those here do."""
        return 0

    def notify(self, after: int, wake: Wake) -> None:
        with self._lock:
            news = self._trimmed + len(self._events) > after + 1
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
            # A stop may interrupt the provider's thread right here, and nobody else knows these
            # readers any more. Waking one twice does no harm.
            for wake in waiting:
                wake()
            raise

    def _restart(self, first: int) -> None:
        """What is missing before number ``first`` does not exist any more, and what comes is new."""
        self._events = []
        self._trimmed = first
        self._bytes = self._counted = 0

    def _trim(self) -> None:
        """Called with the lock held, when there are more than ``_look_at`` events."""
        told = len(self._events)
        if told > self._most:
            self._drop(told - int(self._most * 3 / 4))
        if self._most_bytes < math.inf:
            self._trim_bytes()

    def _trim_bytes(self) -> None:
        new = max(len(self._events) - self._counted, 1)
        mean = self._count() / new
        if self._bytes > self._most_bytes:
            surplus, at = self._bytes - self._most_bytes * 3 / 4, 0
            while surplus > 0 and at < len(self._events):
                surplus -= bytes_of(self._events[at : at + 1])
                at += 1
            self._drop(at)
        # Where events are large, the next look comes sooner.
        room = (self._most_bytes - self._bytes) / 4
        step = LOOK if mean * LOOK < room else max(room // mean, 1)
        self._look_at = min(self._most, len(self._events) + step)

    def _count(self) -> int:
        """:returns: Bytes that have come since it was last called."""
        new = self._events[self._counted :]
        added = bytes_of(new) if new else 0
        self._bytes += added
        self._counted += len(new)
        return added

    def _drop(self, count: int) -> None:
        """Forget the oldest, except for the very last one."""
        count = min(count, len(self._events) - 1)
        counted = min(count, self._counted)
        self._bytes -= bytes_of(self._events[:counted])
        self._counted -= counted
        del self._events[:count]
        self._trimmed += count


def bytes_of(events: Sequence[Event]) -> int:
    """How long they are as JSON, about."""
    try:
        text = len("".join(events))  # type: ignore[arg-type]
    except TypeError:
        text = sum(map(length, events))
    return text + 3 * len(events)


def length(event: Event) -> int:
    if isinstance(event, str):
        return len(event)
    return sum(len(str(getattr(event, it.name))) for it in dataclasses.fields(event))
