"""Ends of runs that are to be delivered: a column of the run's row, so that both are written in one step."""

from __future__ import annotations

from collections.abc import Collection

from flask_aistream.stores.base import OutboxRow
from flask_aistream.stores.shared.engine import UNCLAIMED
from flask_aistream.stores.shared.engine import choose
from flask_aistream.stores.sqlite.file import SqliteFile
from flask_aistream.stores.sqlite.journal import marks
from flask_aistream.stores.sqlite.processes import SqliteProcesses


class SqliteOutbox:
    """
    :param name: Of this process.
    :param namespace: Of the application whose ends it delivers.
    """

    def __init__(
        self, file: SqliteFile, name: str, namespace: str, processes: SqliteProcesses
    ) -> None:
        self._file = file
        self._name = name
        self._app = namespace
        self._processes = processes

    def claim(self, busy: Collection[str]) -> list[OutboxRow]:
        names = [UNCLAIMED, self._name, *self._processes.dead]
        found = self._file.execute(
            f"SELECT id, deliveries + 1, outbox FROM run WHERE outbox IN ({marks(names)}) AND app = ?",
            (*names, self._app),
        )
        chosen = choose([OutboxRow(*row) for row in found.fetchall()], busy)
        for row in chosen:
            self._file.execute(
                "UPDATE run SET outbox = ?, deliveries = ? WHERE id = ?",
                (self._name, row.attempt, row.run),
            )
        return chosen

    def undelivered(self, run_ids: Collection[str]) -> set[str]:
        found = self._file.execute(
            f"SELECT id FROM run WHERE outbox IS NOT NULL AND app = ? AND id IN ({marks(run_ids)})",
            [self._app, *run_ids],
        )
        return {run_id for (run_id,) in found}

    def delivered(self, run_id: str) -> None:
        self._file.execute(
            "UPDATE run SET outbox = NULL WHERE id = ? AND outbox = ?", (run_id, self._name)
        )
