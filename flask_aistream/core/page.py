"""Consecutive records of one log.

Record numbers are gapless, so a page stores only the first one and allocates nothing per record.
"""

from __future__ import annotations

import typing as t

from flask_aistream.core.events import Event


class Page(t.NamedTuple):
    """The records after a cursor, read in one step.

    :param first: Number of ``events[0]``. If older records were trimmed, it is larger than the cursor's
        number + 1, and readers must be sent a gap.
    :param events: The events, in order.
    :param ended: The log has ended and this page reaches its end.
    """

    first: int
    events: t.Sequence[Event]
    ended: bool

    @property
    def last(self) -> int:
        """Number of the last record; ``first - 1`` for an empty page."""
        return self.first + len(self.events) - 1

    def records(self) -> t.Iterator[tuple[int, Event]]:
        """Each event with its number."""
        return enumerate(self.events, self.first)
