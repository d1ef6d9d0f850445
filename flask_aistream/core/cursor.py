"""A position in a log."""

from __future__ import annotations

import re
from dataclasses import dataclass

from flask_aistream.errors import CursorInvalid

# [0-9], because \d also matches digits of other scripts. JavaScript represents 15 digits exactly.
CURSOR = re.compile(r"([A-Za-z0-9_-]{1,64}):([0-9]{1,15})")

BEGINNING = -1


@dataclass(frozen=True, slots=True)
class Cursor:
    """The position after one record. ``Cursor(run)`` is the position before the first record.

    :param run: Id of the run: ASCII letters, digits, ``-`` and ``_``.
    :param number: Number of the last record read; record numbers are gapless and begin at 0.
    """

    run: str
    number: int = BEGINNING

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Parse the value of an ``id`` field.

        :raises CursorInvalid: ``text`` is not ``run:number``.
        """
        match = CURSOR.fullmatch(text)
        if not match:
            raise CursorInvalid(text)
        return cls(match[1], int(match[2]))

    def __str__(self) -> str:
        return f"{self.run}:{self.number}"
