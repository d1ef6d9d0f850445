"""The flush interval: the minimum time between two writes of one stream.

Tokens that arrive within the interval leave in one write. A process whose event loop keeps up uses a short
interval. One that is saturated would fall further behind with every token, so its interval grows until the loop
keeps up again: fewer, larger writes cost less, and no token is late by more than the interval.

The measure is how late the loop is, not how much CPU it uses: a loop that uses most of a core but is on time
would only add delay by waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable

CHECK_SECONDS = 0.1
"""Time between two adaptations of the interval."""

SLOTS = 8
"""Write times per interval. Few, so that many streams share one call of the timer; more than one, so that a new
stream does not wait for all others."""

LATE = 0.006
ON_TIME = 0.003
"""Mean delay of the timer, in seconds, from which on the interval grows, and below which it shrinks. The mean, since
a single garbage collection or another process may delay one call by more."""

GROWTH, SHRINKAGE = 1.3, 0.92
"""Factors of one adaptation. Growing takes under a second, shrinking three: the load is seldom gone for good."""

SMALLEST = 0.002
"""The first step of growth from an interval of 0, in seconds."""


class FlushInterval:
    """The flush interval of a process.

    :param base: Interval of a process whose loop is on time, in seconds.
    :param busy: Longest interval, in seconds. If it is not larger than ``base``, the interval is constant.
    :ivar interval: Current interval, in seconds.
    :ivar slot: Seconds between two write times.
    :ivar mean_delay: Mean delay of the timer's calls before the last check, in seconds.
    """

    def __init__(
        self, base: float, busy: float = 0.0, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.interval = base
        self.slot = base / SLOTS
        self.mean_delay = 0.0
        self._base = base
        self._busy = max(busy, base)
        self._delay = 0.0
        self._calls = 0
        self._next_check = clock() + CHECK_SECONDS

    def next_write(self, now: float) -> float:
        """Earliest time of the next write after one at ``now``, by the clock.

        Counted from the start of the slot that contains ``now``: a stream that waits for others would otherwise be
        later with each write.
        """
        if now >= self._next_check:
            self._adapt(now)
        return now - now % self.slot + self.interval if self.slot else now

    @property
    def has_grown(self) -> bool:
        """Whether the process is late, or was until a few seconds ago."""
        return self.interval > self._base

    def record_delay(self, seconds: float) -> None:
        """The timer has called back this much later than it was set for."""
        self._delay += seconds
        self._calls += 1

    def _adapt(self, now: float) -> None:
        """Adapt the interval to the mean delay since the last time."""
        delay = self.mean_delay = self._delay / self._calls if self._calls else 0.0
        self._delay, self._calls, self._next_check = 0.0, 0, now + CHECK_SECONDS
        if delay > LATE:
            self.interval = min(max(self.interval * GROWTH, SMALLEST), self._busy)
        elif delay < ON_TIME:
            shorter = self.interval * SHRINKAGE
            self.interval = shorter if shorter > max(self._base, SMALLEST) else self._base
        self.slot = self.interval / SLOTS
