"""How much is kept, and where a log that is too long is cut."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
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


UNLIMITED = Limits()


class Length:
    """Of a living run's log in the database, as its owner writes it: where it is to be cut.

    It is cut where a batch begins, before it is a quarter too long. A few marks stand for all batches:
    most of them cost two comparisons.

    :param bounds: Its ``max_events`` and ``log_bytes`` count.
    """

    MARKS = 16

    def __init__(self, bounds: Limits) -> None:
        self._most = bounds.max_events or math.inf
        self._most_bytes = bounds.log_bytes or math.inf
        self._bytes = 0
        # Number of a batch's first record, and bytes before it.
        self._marks: deque[tuple[int, int]] = deque()
        self._next = self._next_bytes = 0.0

    def add(self, first: int, size: int) -> int | None:
        """Note a batch of ``size`` bytes.

        :returns: Number of the first record to be kept, if it is time to cut.
        """
        before = self._bytes
        self._bytes += size
        if first < self._next and self._bytes < self._next_bytes:
            return None
        self._marks.append((first, before))
        self._next = first + self._most / self.MARKS
        self._next_bytes = self._bytes + self._most_bytes / self.MARKS
        return self._cut(first)

    def _cut(self, first: int) -> int | None:
        marks, oldest = self._marks, self._marks[0][0]
        if not self._longer(first, 5 / 4 - 1 / self.MARKS):
            return None
        while len(marks) > 1 and self._longer(first, 1):
            marks.popleft()
        return marks[0][0] if marks[0][0] > oldest else None

    def _longer(self, first: int, part: float) -> bool:
        oldest, before = self._marks[0]
        return first - oldest > self._most * part or self._bytes - before > self._most_bytes * part
