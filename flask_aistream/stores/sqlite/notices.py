"""Notices for owners: runs of theirs that another process has ended or adopted."""

from __future__ import annotations

from flask_aistream.stores.sqlite.file import SqliteFile


class Notices:
    """
    :param name: Of this process.
    """

    def __init__(self, file: SqliteFile, name: str) -> None:
        self._file = file
        self._name = name

    def leave(self, process: str, no: int) -> None:
        """This process has ended or adopted a run of that one."""
        if process not in ("", self._name):
            self._file.execute("INSERT OR IGNORE INTO notice VALUES (?, ?)", (process, no))

    def mine(self) -> dict[str, int]:
        """Ids and numbers of runs of this process."""
        rows = self._file.execute(
            "SELECT id, no FROM notice JOIN run ON no = run WHERE notice.process = ?", (self._name,)
        )
        return dict(rows)

    def clear(self, no: int) -> None:
        self._file.execute("DELETE FROM notice WHERE process = ? AND run = ?", (self._name, no))
