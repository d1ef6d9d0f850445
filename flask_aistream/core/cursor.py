"""Where a connection stands in a log."""

from __future__ import annotations

import re
from dataclasses import dataclass

from flask_aistream.errors import CursorInvalid

# \d would accept digits of other scripts. 15 digits keep the number exact in JavaScript.
CURSOR = re.compile(r"([A-Za-z0-9_-]{1,64}):([0-9]{1,15})")

BEGINNING = -1


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last record read. ``Cursor(run)`` stands before the first one.

    :param run: Id of the run: ASCII letters, digits, ``-`` and ``_``.
    :param number: Number of the last record read; records count gapless from 0.
    """

    run: str
    number: int = BEGINNING

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Read what an ``id`` field said.

        :raises CursorInvalid: ``text`` is not ``run:number``.
        """
        found = CURSOR.fullmatch(text)
        if not found:
            raise CursorInvalid(text)
        return cls(found[1], int(found[2]))

    def __str__(self) -> str:
        return f"{self.run}:{self.number}"
