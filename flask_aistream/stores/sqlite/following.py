"""How records of other processes' runs arrive: by reading on in the journal when something was written."""

from __future__ import annotations

from collections.abc import Collection

from flask_aistream.stores.codec import decode
from flask_aistream.stores.shared.engine import Listener
from flask_aistream.stores.shared.engine import Segment
from flask_aistream.stores.sqlite.file import SqliteFile
from flask_aistream.stores.sqlite.journal import Journal
from flask_aistream.stores.sqlite.journal import marks
from flask_aistream.stores.sqlite.notices import Notices
from flask_aistream.stores.sqlite.processes import SqliteProcesses

FOLLOW_SECONDS = 0.01
OWN_SECONDS = 0.2
"""How soon an owner learns that another process has ended or adopted its run."""


class SqliteFollowing:
    """
    :param name: Of this process.
    :param own: Row numbers of the living runs of this process.
    :param namespace: Of its application.
    """

    def __init__(
        self,
        file: SqliteFile,
        name: str,
        namespace: str,
        own: dict[str, int],
        journal: Journal,
        processes: SqliteProcesses,
        notices: Notices,
    ) -> None:
        self.listener: Listener | None = None
        self._own = own
        self._notices = notices
        self._version: int | None = None
        self._file = file
        self._name = name
        self._app = namespace
        self._journal = journal
        self._processes = processes
        self._wanted: set[str] = set()
        # Ids by row number, and the last row of the journal that was read.
        self._runs: dict[int, str] = {}
        self._read = 0

    def begin(self, listener: Listener | None) -> None:
        """The file is about to be opened."""
        self.listener = listener
        self._version = None

    @property
    def rest(self) -> float | None:
        if self._wanted:
            return FOLLOW_SECONDS
        return OWN_SECONDS if self._own else None

    def poll(self) -> None:
        if self.listener is None or not (self._wanted or self._own):
            return
        version = self._file.pragma("data_version")
        if version == self._version:
            return
        self._read_news(self.listener)
        for run_id, no in self._notices.mine().items():
            self._own.pop(run_id, None)
            self.listener.stale(run_id)
            self._notices.clear(no)
        self._version = version

    def follow(self, run_ids: Collection[str]) -> None:
        assert self.listener
        self._wanted = set(run_ids)
        self._stop([no for no, run_id in self._runs.items() if run_id not in self._wanted])
        self._start(self.listener)

    def followed(self, run_id: str) -> bool:
        """Whether any process follows the run."""
        found = self._file.execute(
            "SELECT 1 FROM follower JOIN run ON run.no = follower.run WHERE run.id = ? LIMIT 1",
            (run_id,),
        )
        return found.fetchone() is not None

    def reset(self) -> None:
        """It is another file."""
        self._runs.clear()

    def _read_news(self, listener: Listener) -> None:
        """Send what was appended since the last time."""
        if len(self._runs) < len(self._wanted):
            self._start(
                listener
            )  # The file was replaced, and their owners have written them again.
        if not self._runs:
            return
        news: dict[int, list[Segment]] = {}
        for row, no, first, data in self._journal.since(self._read, self._runs):
            try:
                news.setdefault(no, []).append(Segment(first, decode(data)))
            except (ValueError, LookupError, TypeError):  # Loading it says what is wrong.
                listener.stale(self._runs[no])
            self._read = row
        for no, segments in news.items():
            listener.arrived(self._runs[no], segments)
        # The records of a run that has ended may have left the journal already.
        for run_id, no in self._file.execute(
            f"SELECT id, no FROM run WHERE token IS NOT NULL AND no IN ({marks(self._runs)})",
            tuple(self._runs),
        ).fetchall():
            listener.stale(run_id)
            del self._runs[no]
            self._wanted.discard(run_id)

    def _start(self, listener: Listener) -> None:
        if not self._runs:
            self._read = self._journal.last
        for run_id in self._wanted.difference(self._runs.values()):
            row = self._file.execute(
                "SELECT no FROM run WHERE id = ? AND app = ?", (run_id, self._app)
            ).fetchone()
            if row is None:  # Its owner may be about to write it again.
                continue
            self._runs[row[0]] = run_id
            self._processes.beat()
            self._file.execute("INSERT OR IGNORE INTO follower VALUES (?, ?)", (row[0], self._name))
            listener.stale(run_id)

    def _stop(self, runs: list[int]) -> None:
        for no in runs:
            del self._runs[no]
            self._file.execute(
                "DELETE FROM follower WHERE run = ? AND process = ?", (no, self._name)
            )
