"""How long tokens gather between two writes to one client.

A worker with time to spare writes soon. One that is short of it would be late with every token, and
later with each, so there the interval opens with the load: fewer and larger writes cost less, and
nobody is late by more than the interval.
"""

from __future__ import annotations

import time
from collections.abc import Callable

CHECK_SECONDS = 0.1

SLOTS = 8
"""Times in one interval at which writing begins: few, so that many streams share a ring of the timer, and
more than one, so that whoever comes new need not wait until all have written."""

IDLE = 0.2
BUSY = 0.4
"""Shares of one CPU: up to the first, the interval is ``base``; from the second on, ``busy``."""

LATE = 0.025
"""Seconds that a ring of the timer is late where no CPU is left for it. Others may be using it, or a
container be allowed no more: our own share of one says nothing then."""


class FlushInterval:
    """The flush interval of a process.

    :param base: Seconds, while the worker has time.
    :param busy: Seconds, while it has little; not more than ``base``: the interval never opens.
    :param cpu: Seconds of CPU that this process has used.
    :ivar interval: Seconds, now.
    :ivar slot: Seconds between two times at which writing begins.
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
        self._opening = max(busy - base, 0.0)
        self._cpu = cpu
        self._late = 0.0
        self._looked = clock()
        self._used = cpu()
        self._look_at = self._looked + CHECK_SECONDS

    def next(self, now: float) -> float:
        """When whoever writes ``now`` is to write again, by the clock.

        An interval after the slot that ``now`` is in, and not after ``now``: a stream that had to wait for
        others would else be later each time.
        """
        if now >= self._look_at:
            self._look(now)
        return now - now % self.slot + self.interval if self.slot else now

    def rang(self, late: float) -> None:
        """The timer has rung so many seconds after its time."""
        self._late = max(self._late, late)

    def _look(self, now: float) -> None:
        """Measure how busy this process was since the last look."""
        used = self._cpu()
        load = (used - self._used) / max(now - self._looked, CHECK_SECONDS)
        load = max(load, self._late / LATE)
        self._used, self._looked, self._look_at = used, now, now + CHECK_SECONDS
        self._late = 0.0
        if self._opening:
            # Half the way: what it brings is seen in the next look, and is not to swing back and forth.
            self.interval = (self.interval + self._wanted(load)) / 2
            self.slot = self.interval / SLOTS

    def _wanted(self, load: float) -> float:
        return self._base + self._opening * min(max((load - IDLE) / (BUSY - IDLE), 0.0), 1.0)
