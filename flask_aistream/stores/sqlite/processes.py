"""Which processes live, and what is to be done for those that do not."""

from __future__ import annotations

import time
from collections.abc import Callable

from flask_aistream.stores.shared.engine import DEAD_SECONDS
from flask_aistream.stores.sqlite.file import File


class Processes:
    """
    :param name: Of this one.
    """

    def __init__(self, file: File, name: str, ticks: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._name = name
        self._ticks = ticks
        self._beats: dict[str, tuple[int, float]] = {}
        self._looked = 0.0
        self._dead: list[str] = []

    def beat(self) -> None:
        self._file.check()
        self._file.execute(
            "INSERT INTO process VALUES (?, 1) ON CONFLICT (id) DO UPDATE SET beats = beats + 1",
            (self._name,),
        )

    def orphans(self) -> list[tuple[str, int]]:
        self._file.check()
        self._dead = self._look()
        for name in self._dead:
            self._file.execute("DELETE FROM follower WHERE process = ?", (name,))
        return [
            orphan
            for name in (*self._dead, "")
            for orphan in self._file.execute(
                "SELECT id, epoch FROM run WHERE token IS NULL AND process = ?", (name,)
            )
        ]

    def _look(self) -> list[str]:
        """A process is dead when we have watched its beats stand still: no clock but ours is asked,
        and not the time in which we could not look."""
        now = self._ticks()
        if now - self._looked > DEAD_SECONDS / 2:
            self._beats.clear()
        self._looked = now
        seen = self._file.execute(
            "SELECT name, coalesce(beats, 0) FROM (SELECT process AS name FROM run WHERE token IS NULL "
            "UNION SELECT process FROM follower "
            "UNION SELECT teller FROM run WHERE teller IS NOT NULL) "
            "LEFT JOIN process ON id = name WHERE name NOT IN ('', ?)",
            (self._name,),
        )
        self._beats = {
            name: self._beats[name] if self._beats.get(name, (-1,))[0] == beats else (beats, now)
            for name, beats in seen
        }
        return [name for name, (_, since) in self._beats.items() if now - since >= DEAD_SECONDS]

    def told(self, run_id: str) -> None:
        self._file.execute(
            "UPDATE run SET teller = NULL WHERE id = ? AND teller = ?", (run_id, self._name)
        )

    def untold(self) -> list[str]:
        for name in self._dead:
            self._file.execute("UPDATE run SET teller = ? WHERE teller = ?", (self._name, name))
        rows = self._file.execute("SELECT id FROM run WHERE teller = ?", (self._name,))
        return [run_id for (run_id,) in rows]
