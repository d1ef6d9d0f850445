"""The records of one log that are in memory, and the readers that wait for more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager

from flask_aistream.core.events import Event
from flask_aistream.core.page import Page
from flask_aistream.core.run import Run
from flask_aistream.errors import CursorInvalid
from flask_aistream.stores.base import PAGE
from flask_aistream.stores.base import Wake


class Records:
    """What every log can be read from, wherever it is kept.

    :param most: When there are more events, the oldest quarter is trimmed away; readers that have not
        come so far are told a gap. ``None`` for any number.
    """

    def __init__(
        self,
        run: Run,
        events: Sequence[Event],
        most: int | None,
        lock: AbstractContextManager[object],
    ) -> None:
        self.run = run
        self.ended = False
        self._events: list[Event] = list(events)
        self._trimmed = 0
        self._most: float = most or math.inf
        self._waiting: dict[Wake, None] = {}
        self._lock = lock

    @property
    def tail(self) -> int:
        """Number of the last record."""
        return self._trimmed + len(self._events) - 1

    def read(self, after: int, limit: int = PAGE) -> Page:
        with self._lock:
            start = after + 1 - self._trimmed
            if start > len(self._events):
                raise CursorInvalid(f"{self.run.id}:{after}", self.tail)
            if start < 0:
                start = 0
            events = self._events[start : start + limit]
            ended = self.ended and start + len(events) == len(self._events)
            return Page(start + self._trimmed, events, ended)

    def notify(self, after: int, wake: Wake) -> None:
        with self._lock:
            news = self._trimmed + len(self._events) > after + 1
            if not news:
                self._waiting[wake] = None
        if news:
            wake()

    def forget(self, wake: Wake) -> None:
        with self._lock:
            self._waiting.pop(wake, None)

    def _wake(self) -> None:
        waiting: dict[Wake, None] = {}
        try:
            with self._lock:
                waiting, self._waiting = self._waiting, {}
            for wake in waiting:
                wake()
        except BaseException:
            # A stop may interrupt the provider's thread right here, and nobody else knows these
            # readers any more. Waking one twice does no harm.
            for wake in waiting:
                wake()
            raise

    def _trim(self) -> None:
        """Called with the lock held, when there are more than ``_most`` events."""
        surplus = int(len(self._events) - self._most + self._most // 4)
        del self._events[:surplus]
        self._trimmed += surplus
