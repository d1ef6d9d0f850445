"""The flush interval: the minimum time between two writes of one stream.

Tokens that arrive within the interval leave in one write. An idle process uses a short interval. A busy one would
fall further behind with every token, so its interval grows with the load: fewer, larger writes cost less, and no
token is late by more than the interval.
"""

from __future__ import annotations

import time
from collections.abc import Callable

CHECK_SECONDS = 0.1
"""Time between two measurements of the load."""

SLOTS = 8
"""Write times per interval. Few, so that many streams share one call of the timer; more than one, so that a new
stream does not wait for all others."""

IDLE = 0.2
BUSY = 0.4
"""Load, as a fraction of one CPU: up to ``IDLE`` the interval is ``base``, from ``BUSY`` on it is ``busy``."""

LATE = 0.025
"""Delay of the timer, in seconds, that counts as full load. Other processes may use the CPU, or a container may
limit it; this process's own CPU time does not show that."""


class FlushInterval:
    """The flush interval of a process.

    :param base: Interval of an idle process, in seconds.
    :param busy: Interval of a busy process, in seconds. If it is not larger than ``base``, the interval is constant.
    :param cpu: Returns the CPU seconds that this process has used.
    :ivar interval: Current interval, in seconds.
    :ivar slot: Seconds between two write times.
    """

    def __init__(
        self,
        base: float,
        busy: float = 0.0,
        *,
        clock: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.process_time,
    ) -> None:
        self.interval = base
        self.slot = base / SLOTS
        self._base = base
        self._range = max(busy - base, 0.0)
        self._cpu = cpu
        self._max_delay = 0.0
        self._checked_at = clock()
        self._cpu_used = cpu()
        self._next_check = self._checked_at + CHECK_SECONDS

    def next_write(self, now: float) -> float:
        """Earliest time of the next write after one at ``now``, by the clock.

        Counted from the start of the slot that contains ``now``: a stream that waits for others would otherwise be
        later with each write.
        """
        if now >= self._next_check:
            self._measure(now)
        return now - now % self.slot + self.interval if self.slot else now

    def record_delay(self, seconds: float) -> None:
        """The timer has called back this much later than it was set for."""
        self._max_delay = max(self._max_delay, seconds)

    def _measure(self, now: float) -> None:
        """Adapt the interval to the load since the last measurement."""
        used = self._cpu()
        load = (used - self._cpu_used) / max(now - self._checked_at, CHECK_SECONDS)
        load = max(load, self._max_delay / LATE)
        self._cpu_used, self._checked_at, self._next_check = used, now, now + CHECK_SECONDS
        self._max_delay = 0.0
        if self._range:
            # Half of the way: the next measurement sees the effect, and the interval does not oscillate.
            self.interval = (self.interval + self._target(load)) / 2
            self.slot = self.interval / SLOTS

    def _target(self, load: float) -> float:
        return self._base + self._range * min(max((load - IDLE) / (BUSY - IDLE), 0.0), 1.0)
