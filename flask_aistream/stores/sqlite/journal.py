"""The records of all living runs, in the order of time and without an index: that makes a token cheap.

A row holds neighbouring records of one run. The sweep drops rows before the oldest living run.
"""

from __future__ import annotations

import contextlib
import typing as t
from collections.abc import Iterable
from collections.abc import Sequence

from flask_aistream.stores.codec import decode
from flask_aistream.stores.sqlite.file import SqliteFile

# One statement a group: every step releases the interpreter's lock, and a busy thread may take it
# for 5 ms. Only these sizes, so that the statements stay prepared.
SIZES = (64, 16, 4, 1)
INSERT = {
    n: "INSERT INTO journal (run, first, data) VALUES " + ", ".join(["(?, ?, ?)"] * n)
    for n in SIZES
}


class Journal:
    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    @property
    def last(self) -> int:
        """Its last row."""
        found = self._file.execute("SELECT coalesce(max(id), 0) FROM journal").fetchone()
        return t.cast(int, found[0])

    def add(self, rows: Sequence[tuple[int, int, str]]) -> None:
        """
        :param rows: Run, number of the first record, records.
        """
        at = 0
        for size in SIZES:
            while len(rows) - at >= size:
                values = [value for row in rows[at : at + size] for value in row]
                self._file.execute(INSERT[size], values)
                at += size

    def of(self, no: int, start: int, after: int = -1) -> list[tuple[int, str]]:
        """The records of a living run, from the row on that holds record ``after + 1``."""
        found: list[tuple[int, str]] = []
        # Backwards, as mostly little is asked for.
        rows = self._file.execute(
            "SELECT first, data FROM journal WHERE id > ? AND run = ? ORDER BY id DESC", (start, no)
        )
        # A statement that is left half read would keep what it may still read from being written over.
        with contextlib.closing(rows):
            for row in rows:
                found.append(row)
                if row[0] <= after + 1:
                    break
        return found[::-1]

    def next(self, no: int, start: int) -> int:
        """Number of a living run's record to come."""
        row = self._file.execute(
            "SELECT first, data FROM journal WHERE id > ? AND run = ? ORDER BY id DESC LIMIT 1",
            (start, no),
        ).fetchone()
        return row[0] + len(decode(row[1])) if row else 0

    def since(self, row: int, runs: Iterable[int]) -> t.Any:
        """Rows of these runs after row ``row``: their number, run, number of the first record, records."""
        several = tuple(runs)
        return self._file.execute(
            f"SELECT id, run, first, data FROM journal WHERE id > ? AND run IN ({marks(several)}) ORDER BY id",
            (row, *several),
        )

    def replace(self, no: int, start: int, first: int, data: str) -> None:
        """Write a living run again."""
        self._file.execute("DELETE FROM journal WHERE id > ? AND run = ?", (start, no))
        self.add([(no, first, data)])

    def cut(self, no: int, keep: int) -> None:
        """Drop the rows of a living run that lie before record ``keep``."""
        (start,) = self._file.execute("SELECT start FROM run WHERE no = ?", (no,)).fetchone()
        (last,) = self._file.execute(
            "SELECT max(id) - 1 FROM journal WHERE id > ? AND run = ? AND first <= ?",
            (start, no, keep),
        ).fetchone()
        if last is not None:
            self._file.execute(
                "DELETE FROM journal WHERE id > ? AND id <= ? AND run = ?", (start, last, no)
            )
            self._file.execute("UPDATE run SET start = ? WHERE no = ?", (last, no))


def marks(values: t.Sized) -> str:
    return ", ".join("?" * len(values))


def joined(rows: Sequence[tuple[int, str]]) -> tuple[int, str]:
    """Rows as one: the number of the first record, and one JSON array."""
    return rows[0][0], "[" + ",".join(data[1:-1] for _, data in rows if data != "[]") + "]"
