"""Which processes live, and which runs the dead ones have left."""

from __future__ import annotations

import time
from collections.abc import Callable

from flask_aistream.stores.shared.engine import DEAD_SECONDS
from flask_aistream.stores.sqlite.file import SqliteFile

NEEDED = (
    "SELECT process FROM run WHERE token IS NULL UNION SELECT process FROM follower "
    "UNION SELECT outbox FROM run WHERE outbox IS NOT NULL"
)
"""Processes that are expected to do something."""


class SqliteProcesses:
    """
    :param name: Of this one.
    :param namespace: Of the application whose runs are looked after.
    :ivar dead: The others that were dead at the last call of :meth:`orphans`.
    """

    def __init__(
        self,
        file: SqliteFile,
        name: str,
        namespace: str,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = file
        self._name = name
        self._app = namespace
        self._ticks = ticks
        self._seen: dict[str, tuple[int, float]] = {}
        self._seen_at = 0.0
        self._beats = 0
        self.dead: list[str] = []

    def beat(self) -> bool:
        """
        :returns: False: the file holds an earlier heartbeat than the last one, so it was rolled back.
        """
        self._file.check()
        row = self._file.execute("SELECT beats FROM process WHERE id = ?", (self._name,)).fetchone()
        # The sweep of another process deletes the row while this one has nothing to do.
        beats = row[0] if row else self._beats
        intact = beats >= self._beats
        self._beats = beats
        self._file.execute("INSERT OR REPLACE INTO process VALUES (?, ?)", (self._name, beats + 1))
        return bool(intact)

    def orphans(self) -> list[tuple[str, int]]:
        self._file.check()
        self.dead = self._find_dead()
        for name in self.dead:
            self._file.execute("DELETE FROM follower WHERE process = ?", (name,))
        return [
            orphan
            for name in (*self.dead, "")
            for orphan in self._file.execute(
                "SELECT id, epoch FROM run WHERE token IS NULL AND process = ? AND app = ?",
                (name, self._app),
            )
        ]

    def _find_dead(self) -> list[str]:
        """A process is dead when this one has watched its count of heartbeats stand still: no other clock
        counts, and not the time in which this process did not look."""
        now = self._ticks()
        if now - self._seen_at > DEAD_SECONDS / 2:
            self._seen.clear()
        self._seen_at = now
        counts = self._file.execute(
            f"SELECT name, coalesce(beats, 0) FROM (SELECT process AS name FROM ({NEEDED})) "
            "LEFT JOIN process ON id = name WHERE name NOT IN ('', ?)",
            (self._name,),
        )
        self._seen = {
            name: self._seen[name] if self._seen.get(name, (-1,))[0] == beats else (beats, now)
            for name, beats in counts
        }
        return [name for name, (_, since) in self._seen.items() if now - since >= DEAD_SECONDS]
