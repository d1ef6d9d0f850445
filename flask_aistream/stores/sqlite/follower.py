"""How news of other processes' runs come in: by reading on in the journal when something was written."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass

from flask_aistream.stores.codec import decode
from flask_aistream.stores.shared.engine import Listener
from flask_aistream.stores.shared.engine import Segment
from flask_aistream.stores.shared.engine import Snapshot
from flask_aistream.stores.sqlite.file import File
from flask_aistream.stores.sqlite.journal import Journal
from flask_aistream.stores.sqlite.journal import marks
from flask_aistream.stores.sqlite.processes import Processes


@dataclass(slots=True)
class Followed:
    """A foreign run that somebody here reads.

    :param seen: The last row of the journal that was looked at.
    """

    no: int
    seen: int


class Follower:
    """
    :param name: Of this process.
    :param load: See ``Engine.load``.
    """

    def __init__(
        self,
        file: File,
        name: str,
        journal: Journal,
        processes: Processes,
        load: Callable[[str, int], Snapshot | None],
    ) -> None:
        self._file = file
        self._name = name
        self._journal = journal
        self._processes = processes
        self._load = load
        self._followed: dict[str, Followed] = {}
        self._sought: set[str] = set()

    @property
    def active(self) -> bool:
        return bool(self._followed or self._sought)

    def start(self, run_id: str, after: int) -> Sequence[Segment]:
        found = self._load(run_id, after)
        if found is None:  # Its owner may be about to write it anew.
            self._sought.add(run_id)
            return ()
        if not found.ended:
            (no,) = self._file.execute("SELECT no FROM run WHERE id = ?", (run_id,)).fetchone()
            self._followed[run_id] = Followed(no, self._journal.last)
            self._processes.beat()
            self._file.execute("INSERT OR IGNORE INTO follower VALUES (?, ?)", (no, self._name))
        return found.pieces

    def stop(self, run_id: str) -> None:
        self._followed.pop(run_id, None)
        self._sought.discard(run_id)
        self._file.execute(
            "DELETE FROM follower WHERE process = ? AND run = (SELECT no FROM run WHERE id = ?)",
            (self._name, run_id),
        )

    def anybody(self, run_id: str) -> bool:
        """Whether any process follows the run."""
        found = self._file.execute(
            "SELECT 1 FROM follower JOIN run ON run.no = follower.run WHERE run.id = ? LIMIT 1",
            (run_id,),
        )
        return found.fetchone() is not None

    def begin_anew(self) -> None:
        """It is another file: what is known of one that is gone says nothing of this one."""
        self._sought.update(self._followed)
        self._followed.clear()

    def seek(self, listener: Listener) -> None:
        """The file was made anew, and the owners of living runs write these anew."""
        for run_id in list(self._sought):
            if self._load(run_id, -1) is not None:
                self._sought.discard(run_id)
                self.start(run_id, -1)
                listener.stale(run_id)

    def read(self, listener: Listener) -> None:
        """Tell of what has been written since the last time."""
        if not self._followed:
            return
        ids = {followed.no: run_id for run_id, followed in self._followed.items()}
        seen = min(followed.seen for followed in self._followed.values())
        news: dict[int, list[Segment]] = {}
        for row, no, first, data in self._journal.since(seen, ids):
            if row > self._followed[ids[no]].seen:
                news.setdefault(no, []).append(Segment(first, decode(data)))
            seen = row
        for no, pieces in news.items():
            self._followed[ids[no]].seen = seen
            listener.arrived(ids[no], pieces)
        # What has ended may have left the journal already.
        for (run_id,) in self._file.execute(
            f"SELECT id FROM run WHERE token IS NOT NULL AND no IN ({marks(ids)})", tuple(ids)
        ).fetchall():
            del self._followed[run_id]
            listener.stale(run_id)
