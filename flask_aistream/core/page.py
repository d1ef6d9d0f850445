"""Consecutive records of one log.

Numbers are gapless, so a page needs only the first one: nothing is made per record.
"""

from __future__ import annotations

import typing as t

from flask_aistream.core.events import Event


class Page(t.NamedTuple):
    """What a log holds after a cursor, at one moment.

    :param first: Number of ``events[0]``. Larger than the cursor's number + 1 where older records
        were trimmed away; the difference is a gap that readers must be told.
    :param events: The events, in order.
    :param ended: The last of ``events`` is the terminal one, or stood before the cursor.
    """

    first: int
    events: t.Sequence[Event]
    ended: bool

    @property
    def last(self) -> int:
        """Number of the last record, ``first - 1`` for an empty page."""
        return self.first + len(self.events) - 1

    def records(self) -> t.Iterator[tuple[int, Event]]:
        """Each event with its number."""
        return enumerate(self.events, self.first)
