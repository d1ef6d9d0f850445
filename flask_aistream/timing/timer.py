"""All the waiting of a process, on one alarm.

A timer per stream would cost more than the stream's tokens, so there is one for all: a queue for the
flush interval, whose entries are due in about the order they come, and a heap for everything else.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable

from flask_aistream.timing.concurrency import Concurrency
from flask_aistream.timing.flush import FlushInterval

logger = logging.getLogger("flask_aistream")

Callback = Callable[[], None]

SPARSE = 1024
"""Entries from which on cancelled ones are cleared away before their time."""


class Handle:
    """A callback that may still be cancelled."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callback) -> None:
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        self.callback = None


class Timer:
    """Calls back later. Callbacks must not block: they share one alarm.

    :param flush_interval: Gives the times that are asked of :meth:`soon`, and is told how late they were kept.
    """

    def __init__(
        self,
        concurrency: Concurrency,
        flush_interval: FlushInterval,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._flush_interval = flush_interval
        self._clock = clock
        self._soon: deque[tuple[float, Callback]] = deque()
        self._later: list[tuple[float, int, Handle]] = []
        self._crowded = SPARSE
        self._order = itertools.count()
        self._lock = concurrency.lock()
        self._alarm = concurrency.alarm(self._ring)
        self._set_for: float | None = None

    def soon(self, due: float, callback: Callback) -> None:
        """Call back at ``due`` by the clock, one of the times that ``flush_interval`` gives.

        The queue is not sorted: one that is due earlier than those before it waits for them, at most
        another interval.
        """
        self._soon.append((due, callback))
        if self._set_for is None or self._set_for > due:
            self._arm(due)

    def later(self, delay: float, callback: Callback) -> Handle:
        """Call back after ``delay`` seconds, unless cancelled."""
        due = self._clock() + delay
        handle = Handle(callback)
        with self._lock:
            heapq.heappush(self._later, (due, next(self._order), handle))
            if len(self._later) > self._crowded:
                self._clear()
        if self._set_for is None or self._set_for > due:
            self._arm(due)
        return handle

    def _arm(self, due: float) -> None:
        with self._lock:
            if self._set_for is None or self._set_for > due:
                now = self._clock()
                self._set_for = max(due, now)
                self._alarm.set(self._set_for - now)

    def _ring(self) -> None:
        now = self._clock()
        with self._lock:
            set_for, self._set_for = self._set_for, None
        self._flush_interval.rang(now - (set_for or now))
        for callback in self._due(now):
            try:
                callback()
            except Exception:  # Who set it must not stop everybody else's time.
                logger.exception("A callback of the timer failed")
        if self._soon:
            self._arm(self._soon[0][0])
        later = self._later  # Another thread may put a shorter one in its place.
        if later:
            # The heartbeats of many streams are then to share one ring, instead of one ring each.
            self._arm(max(later[0][0], now + self._flush_interval.slot))

    def _clear(self) -> None:
        """Let go of what was cancelled: every run has an expiry an hour ahead, which its end cancels."""
        self._later = [entry for entry in self._later if entry[2].callback is not None]
        heapq.heapify(self._later)
        self._crowded = max(2 * len(self._later), SPARSE)

    def _due(self, now: float) -> list[Callback]:
        callbacks: list[Callback] = []
        soon = self._soon
        while soon and soon[0][0] <= now:
            callbacks.append(soon.popleft()[1])
        with self._lock:
            while self._later and self._later[0][0] <= now:
                handle = heapq.heappop(self._later)[2]
                if handle.callback is not None:
                    callbacks.append(handle.callback)
        return callbacks
