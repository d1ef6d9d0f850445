"""What all runs say, in the order of time and without an index: that makes a token cheap.

A row holds neighbouring events of one run. What lies before the oldest living run is dropped by the sweep.
"""

from __future__ import annotations

import contextlib
import typing as t
from collections.abc import Iterable

from flask_aistream.stores.sqlite.file import File

# One statement a group: every step lets go of the interpreter's lock, and a busy thread may take it
# for 5 ms. Only these sizes, so that the statements stay prepared.
SIZES = (64, 16, 4, 1)
INSERT = {
    n: "INSERT INTO journal (run, first, data) VALUES " + ", ".join(["(?, ?, ?)"] * n)
    for n in SIZES
}


class Journal:
    def __init__(self, file: File) -> None:
        self._file = file

    @property
    def last(self) -> int:
        """Its last row."""
        found = self._file.execute("SELECT coalesce(max(id), 0) FROM journal").fetchone()
        return t.cast(int, found[0])

    def add(self, rows: list[tuple[int, int, str]]) -> None:
        """
        :param rows: Run, number of the first event, events.
        """
        at = 0
        for size in SIZES:
            while len(rows) - at >= size:
                values = [value for row in rows[at : at + size] for value in row]
                self._file.execute(INSERT[size], values)
                at += size

    def of(self, no: int, start: int, after: int = -1) -> list[tuple[int, str]]:
        """What a living run has said, from the batch on that holds record ``after + 1``: in a file that was
        made anew, it may begin before that."""
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

    def since(self, row: int, runs: Iterable[int]) -> t.Any:
        """Rows of these runs after row ``row``: their number, run, number of the first event, events."""
        several = tuple(runs)
        return self._file.execute(
            f"SELECT id, run, first, data FROM journal WHERE id > ? AND run IN ({marks(several)}) ORDER BY id",
            (row, *several),
        )

    def cut(self, no: int, least: int) -> None:
        """Drop what a living run has said before record ``least``."""
        (start,) = self._file.execute("SELECT start FROM run WHERE no = ?", (no,)).fetchone()
        self._file.execute(
            "DELETE FROM journal WHERE id > ? AND run = ? AND first < ?", (start, no, least)
        )
        self._file.execute(
            "UPDATE run SET start = (SELECT min(id) - 1 FROM journal WHERE id > start AND run = no) "
            "WHERE no = ?",
            (no,),
        )


def marks(values: t.Sized) -> str:
    return ", ".join("?" * len(values))


def joined(said: dict[int, str], least: int) -> tuple[int, str]:
    """JSON arrays as one, without those that lie before number ``least``."""
    numbers = sorted(said)
    kept = [number for number in numbers if number >= least] or numbers[-1:]
    return kept[0], "[" + ",".join(said[number][1:-1] for number in kept) + "]"
