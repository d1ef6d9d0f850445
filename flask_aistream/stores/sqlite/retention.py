"""Drop ended runs that exceed the limits, and shrink the file."""

from __future__ import annotations

import time
from collections.abc import Callable

from flask_aistream.stores.limits import Limits
from flask_aistream.stores.sqlite.file import SqliteFile
from flask_aistream.stores.sqlite.processes import NEEDED

DROP = 16
"""Runs dropped between two checks of the size."""

FREE_PAGES = 1024
"""Free pages kept for new records. Beyond these, and a quarter of the file, they are given back."""

GIVE_BACK = 2048
"""Free pages given back in one sweep."""

DELIVERED = "token IS NOT NULL AND outbox IS NULL"

DROPPABLE = "token IS NOT NULL AND app = ? AND coalesce(outbox, '') = ''"
"""A run whose end a process delivers is kept, unless it is too old."""


class SqliteRetention:
    """
    :param name: Of this process.
    :param namespace: Of the application whose runs are dropped.
    :param limits: Its ``store_bytes`` are those of the file, without free pages.
    """

    def __init__(
        self,
        file: SqliteFile,
        name: str,
        namespace: str,
        limits: Limits,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._file = file
        self._name = name
        self._app = namespace
        self._limits = limits
        self._clock = clock

    def sweep(self) -> bool:
        if self._limits.retain is not None:
            limit = self._clock() - self._limits.retain
            self._file.execute(
                "DELETE FROM run WHERE token IS NOT NULL AND app = ? AND ended_at <= ?",
                (self._app, limit),
            )
        if self._limits.max_runs is not None:
            self._file.execute(
                f"DELETE FROM run WHERE no IN (SELECT no FROM run WHERE {DROPPABLE} "
                "ORDER BY ended_at DESC, no DESC LIMIT -1 OFFSET ?)",
                (self._app, self._limits.max_runs),
            )
        self._file.execute("DELETE FROM notice WHERE run NOT IN (SELECT no FROM run)")
        # The last row stays: a row's number must never come back.
        self._file.execute(
            "DELETE FROM journal WHERE id < (SELECT max(id) FROM journal) AND id <= "
            "coalesce((SELECT min(start) FROM run WHERE token IS NULL), (SELECT max(id) FROM journal))"
        )
        self._file.execute(
            f"DELETE FROM process WHERE id <> ? AND id NOT IN ({NEEDED})",
            (self._name,),
        )
        full = self._limits.store_bytes is not None and self._is_full(self._limits.store_bytes)
        self._give_back()
        return full

    def drop(self, run_id: str) -> bool:
        self._file.execute(
            f"DELETE FROM run WHERE id = ? AND app = ? AND {DELIVERED}", (run_id, self._app)
        )
        left = self._file.execute(
            "SELECT 1 FROM run WHERE id = ? AND app = ?", (run_id, self._app)
        ).fetchone()
        return left is None

    def _is_full(self, limit: int) -> bool:
        """Drop more, if need be, and the oldest first.

        :returns: It was not enough.
        """
        if self._bytes() <= limit:
            return False
        # An ended run is one row. Its records are in the journal too, as far back as the oldest living run.
        self._file.execute(
            "DELETE FROM journal WHERE id < (SELECT max(id) FROM journal) AND "
            "run NOT IN (SELECT no FROM run WHERE token IS NULL)"
        )
        while self._bytes() > limit:
            dropped = self._file.execute(
                f"DELETE FROM run WHERE no IN (SELECT no FROM run WHERE {DROPPABLE} "
                "ORDER BY ended_at, no LIMIT ?)",
                (self._app, DROP),
            )
            if not dropped.rowcount:
                return True
        return False

    def _give_back(self) -> None:
        """Shrink the file, where much of it is free. A little at a time: other processes wait to write."""
        free = self._file.pragma("freelist_count")
        if free > FREE_PAGES + self._file.pragma("page_count") // 4:
            for _ in range(min(free - FREE_PAGES, GIVE_BACK)):
                self._file.execute("PRAGMA incremental_vacuum(1)")

    def _bytes(self) -> int:
        pages = self._file.pragma("page_count") - self._file.pragma("freelist_count")
        return pages * self._file.pragma("page_size")
