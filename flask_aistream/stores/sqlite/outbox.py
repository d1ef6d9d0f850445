"""Ends of runs that are to be delivered: a column of the run's row, so that both are written in one step."""

from __future__ import annotations

from collections.abc import Collection

from flask_aistream.stores.sqlite.file import File
from flask_aistream.stores.sqlite.journal import marks
from flask_aistream.stores.sqlite.processes import Processes

UNCLAIMED = ""


class Outbox:
    """
    :param name: Of this process.
    """

    def __init__(self, file: File, name: str, processes: Processes) -> None:
        self._file = file
        self._name = name
        self._processes = processes

    def claimant(self, claim: bool | None) -> str | None:
        """Value of the column; see ``End.outbox``."""
        return None if claim is None else self._name if claim else UNCLAIMED

    def claim(self, busy: Collection[str]) -> list[tuple[str, int]]:
        names = [UNCLAIMED, self._name, *self._processes.dead]
        rows = self._file.execute(
            f"SELECT no, id, deliveries + 1 FROM run WHERE outbox IN ({marks(names)})", names
        ).fetchall()
        claimed = [row for row in rows if row[1] not in busy]
        for no, _, count in claimed:
            self._file.execute(
                "UPDATE run SET outbox = ?, deliveries = ? WHERE no = ?", (self._name, count, no)
            )
        return [(run_id, count) for _, run_id, count in claimed]

    def delivered(self, run_id: str) -> None:
        self._file.execute(
            "UPDATE run SET outbox = NULL WHERE id = ? AND outbox = ?", (run_id, self._name)
        )
