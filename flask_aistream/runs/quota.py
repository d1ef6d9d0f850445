"""The limits that a start counts against, besides those of the process and of its owner."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from flask_aistream.errors import TooManyStarts

MINUTE = 60.0

MAX_CALLERS = 10_000
"""Callers whose starts are counted. Beyond that, the caller whose last start is the oldest is forgotten."""


@dataclass(frozen=True, slots=True)
class Share:
    """A limit that some of the concurrent runs of a process count against.

    :param name: Runs with a share of the same name are counted together.
    :param limit: Maximum number of runs, or of bytes.
    :param message: Message of the error beyond the limit: what is reached, and what to do.
    :param size: What this run counts: 1, or its bytes.
    """

    name: str
    limit: int
    message: str
    size: int = 1


class StartRate:
    """Limits the starts of each caller to a number per minute. All of them may be simultaneous.

    A token bucket per caller: it holds a minute's starts, and is refilled continuously.

    :param per_minute: The limit.
    :param lock: For critical sections that do not block.
    """

    def __init__(
        self,
        per_minute: int,
        lock: AbstractContextManager[object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_minute = per_minute
        self._lock = lock
        self._clock = clock
        # Starts left and the time at which they were counted, by caller; the last caller to start is the last.
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, caller: str) -> None:
        """Count a start.

        :raises TooManyStarts: The caller has none left.
        """
        now, rate = self._clock(), self._per_minute / MINUTE
        with self._lock:
            left, then = self._buckets.pop(caller, (float(self._per_minute), now))
            left = min(left + (now - then) * rate, float(self._per_minute))
            self._buckets[caller] = (left - 1 if left >= 1 else left, now)
            self._drop_full(now)
        if left < 1:
            raise TooManyStarts(self._per_minute, (1 - left) / rate)

    def give_back(self, caller: str) -> None:
        """Uncount a start that has found a run."""
        with self._lock:
            if caller in self._buckets:
                left, then = self._buckets[caller]
                self._buckets[caller] = (left + 1, then)

    def _drop_full(self, now: float) -> None:
        """Forget callers whose bucket is full again, and the oldest of too many."""
        for caller in tuple(itertools.islice(self._buckets, 2)):  # Each start adds at most one.
            if now - self._buckets[caller][1] >= MINUTE or len(self._buckets) > MAX_CALLERS:
                del self._buckets[caller]


@dataclass(frozen=True, slots=True)
class Quota:
    """The limits that one start counts against.

    :param shares: Limits of concurrent runs.
    :param rate: Limit of starts; ``None`` for none.
    :param caller: Whose starts it limits.
    """

    shares: tuple[Share, ...] = ()
    rate: StartRate | None = None
    caller: str = ""

    def take(self) -> None:
        """Count a start.

        :raises TooManyStarts: The caller has reached its limit.
        """
        if self.rate is not None:
            self.rate.take(self.caller)

    def give_back(self) -> None:
        """Uncount it: it has found a run that an earlier request started."""
        if self.rate is not None:
            self.rate.give_back(self.caller)


UNCOUNTED = Quota()
"""Starts by code outside of a request."""
