"""How much is kept, and where a log that is too long is cut."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a store keeps; ``None``: any amount.

    :param retain: Seconds of a finished run.
    :param max_runs: Finished runs, the latest ones.
    :param max_events: Of one run.
    :param log_bytes: Of one run's events, as JSON and about.
    :param store_bytes: Of everything, as of the last sweep.
    """

    retain: float | None = None
    max_runs: int | None = None
    max_events: int | None = None
    log_bytes: int | None = None
    store_bytes: int | None = None


UNBOUNDED = Bounds()


class Length:
    """Of a living run's log in the database, as its owner writes it: where it is to be cut.

    It is cut when it is a quarter too long, and where a batch begins. A few marks stand for all of
    its batches.

    :param bounds: Its ``max_events`` and ``log_bytes`` count.
    """

    MARKS = 16

    def __init__(self, bounds: Bounds) -> None:
        self._most = bounds.max_events or math.inf
        self._most_bytes = bounds.log_bytes or math.inf
        self._bytes = 0
        self._marks: deque[tuple[int, int]] = deque()

    def add(self, first: int, size: int) -> int | None:
        """Note a batch of ``size`` bytes.

        :returns: Number of the first record to be kept, if it is time to cut.
        """
        self._bytes += size
        self._mark(first, size)
        oldest = self._marks[0][0]
        if first - oldest <= self._most * 5 / 4 and self._bytes <= self._most_bytes * 5 / 4:
            return None
        marks = self._marks
        while len(marks) > 1 and (
            first - marks[0][0] > self._most or self._bytes > self._most_bytes
        ):
            self._bytes -= marks.popleft()[1]
        return marks[0][0] if marks[0][0] > oldest else None

    def _mark(self, first: int, size: int) -> None:
        if self._marks:
            begun, told = self._marks[-1]
            near = (first - begun) * self.MARKS < self._most
            if near and (told + size) * self.MARKS < self._most_bytes:
                self._marks[-1] = (begun, told + size)
                return
        self._marks.append((first, size))
