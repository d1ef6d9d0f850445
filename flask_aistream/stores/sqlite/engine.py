"""The contract of an engine, kept in a file.

A journal takes what all runs say; a run that has ended becomes one row, and what lies in the journal
before the oldest living run is dropped. Other processes see through ``PRAGMA data_version`` that
something was written.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
import typing as t
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import astuple
from dataclasses import dataclass
from dataclasses import field

from flask_aistream.core.run import Run
from flask_aistream.errors import TooManyRuns
from flask_aistream.stores.codec import decode
from flask_aistream.stores.limits import UNLIMITED
from flask_aistream.stores.limits import Length
from flask_aistream.stores.limits import Limits
from flask_aistream.stores.shared.engine import Batch
from flask_aistream.stores.shared.engine import End
from flask_aistream.stores.shared.engine import Listener
from flask_aistream.stores.shared.engine import Segment
from flask_aistream.stores.shared.engine import Snapshot
from flask_aistream.stores.sqlite.file import File
from flask_aistream.stores.sqlite.file import is_damage
from flask_aistream.stores.sqlite.file import is_outage
from flask_aistream.stores.sqlite.follower import Follower
from flask_aistream.stores.sqlite.journal import Journal
from flask_aistream.stores.sqlite.journal import joined
from flask_aistream.stores.sqlite.notices import Notices
from flask_aistream.stores.sqlite.processes import Processes
from flask_aistream.stores.sqlite.sweep import Sweep

FOLLOW_SECONDS = 0.01
OWN_SECONDS = 0.2
"""How soon an owner learns that another process has ended or adopted its run."""

RUN = "id, provider, created, owner, key, fingerprint, chat, request"


@dataclass(slots=True)
class Own:
    """A living run of this process, and all it has said."""

    no: int
    length: Length
    said: dict[int, str] = field(default_factory=dict)


class SqliteEngine:
    """
    :param path: Of the file, on a local disk.
    :param name: Of this process, unlike any other's.
    :param clock: Seconds since the epoch.
    """

    native = True

    def __init__(
        self,
        path: str,
        name: str,
        bounds: Limits = UNLIMITED,
        *,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._bounds = bounds
        self._clock = clock
        self._own: dict[str, Own] = {}
        self._begun: list[str] = []
        self._over: list[str] = []
        self._version: int | None = None
        self._file = File(path)
        self._journal = Journal(self._file)
        self._notices = Notices(self._file, name)
        self._processes = Processes(self._file, name, ticks)
        self._follower = Follower(self._file, name, self._journal, self._processes, self.load)
        self._sweep = Sweep(self._file, name, bounds, clock)

    def open(self, listener: Listener) -> None:
        self._listener = listener
        another = self._file.open()
        self._version = None
        if another:
            self._own.clear()
            self._follower.begin_anew()
            listener.stale(None)

    def close(self) -> None:
        self._file.close()

    def is_outage(self, error: Exception) -> bool:
        return is_outage(error)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        outer = not self._file.in_transaction
        if outer:
            self._begun, self._over = [], []
        begun, over = len(self._begun), len(self._over)
        try:
            with self._file.together():
                yield
        except BaseException as error:
            if isinstance(error, sqlite3.Error) and is_damage(error):
                self._file.suspect()
            for run_id in self._begun[begun:]:
                self._own.pop(run_id, None)
            del self._begun[begun:], self._over[over:]
            raise
        if outer:
            for run_id in self._over:
                self._own.pop(run_id, None)

    def create(self, run: Run, begin: Batch, most: int | None = None) -> str:
        taken = self._file.execute(
            "SELECT id, no FROM run WHERE id = ? OR key = ?", (run.id, run.key)
        ).fetchone()
        if taken:
            if taken[0] == run.id and begin.epoch:  # By the same call, before a fault.
                self._take(run.id, taken[1], [(begin.first, begin.data)])
            return t.cast(str, taken[0])
        if most is not None and run.owner is not None and self.running(run.owner) >= most:
            raise TooManyRuns(most)
        self.beat()
        added = self._file.execute(
            f"INSERT INTO run ({RUN}, process, epoch, start) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*astuple(run), self._name if begin.epoch else "", begin.epoch, self._journal.last),
        )
        if begin.epoch:
            self._take(run.id, added.lastrowid, [])
            self._write([begin])
        else:
            self._journal.add([(added.lastrowid, begin.first, begin.data)])
        return run.id

    def restore(self, run: Run, everything: Batch) -> bool:
        # A file forgets nothing, unless it was deleted and made anew.
        found = self._file.execute(
            "SELECT token IS NULL AND epoch <= ? FROM run WHERE id = ?", (everything.epoch, run.id)
        ).fetchone()
        if found and not found[0]:
            return False
        self.create(run, everything)
        return True

    def adopt(self, run_id: str, epoch: int) -> bool:
        row = self._file.execute(
            "SELECT no, start, process, epoch FROM run WHERE id = ? AND token IS NULL", (run_id,)
        ).fetchone()
        if row is None:
            return False
        no, start, process, now = row
        if (process, now) != (self._name, epoch + 1):  # Else by the same call, before a fault.
            if now != epoch:
                return False
            self.beat()
            self._file.execute(
                "UPDATE run SET process = ?, epoch = epoch + 1 WHERE no = ?", (self._name, no)
            )
            self._notices.leave(process, no)
            self._notices.clear(no)
        self._take(run_id, no, self._journal.of(no, start))
        return True

    def write(self, batches: Sequence[Batch]) -> list[str]:
        ended = self._notices.mine()
        refused = [
            batch.run for batch in batches if batch.run in ended or batch.run not in self._own
        ]
        if refused:
            batches = [batch for batch in batches if batch.run not in refused]
        self._write(batches)
        return refused

    def release(self, run_id: str, epoch: int) -> bool:
        self._file.execute(
            "UPDATE run SET process = '' WHERE id = ? AND epoch = ? AND process = ? AND token IS NULL",
            (run_id, epoch, self._name),
        )
        row = self._file.execute(
            "SELECT process, epoch FROM run WHERE id = ?", (run_id,)
        ).fetchone()
        if row != ("", epoch):
            return False
        self._over.append(run_id)
        return True

    def end(self, end: End) -> bool | None:
        teller = self._name if end.announced else None
        changed = self._file.execute(
            "UPDATE run SET token = ?, ended_at = ?, teller = ?, request = '' "
            "WHERE id = ? AND token IS NULL AND epoch = coalesce(?, epoch)",
            (end.token, self._clock(), teller, end.run, end.epoch),
        )
        if not changed.rowcount:
            winner = self._file.execute("SELECT token FROM run WHERE id = ?", (end.run,)).fetchone()
            return None if winner is None else bool(winner[0] == end.token)
        no, start, process = self._file.execute(
            "SELECT no, start, process FROM run WHERE id = ?", (end.run,)
        ).fetchone()
        self._notices.leave(process, no)
        own = self._own.get(end.run) if process == self._name else None
        said = dict(own.said) if own else dict(self._journal.of(no, start))
        said[end.number] = end.data
        first, whole = joined(said, end.number - (self._bounds.max_events or end.number))
        self._journal.add([(no, end.number, end.data)])
        self._file.execute(
            "UPDATE run SET first = ?, last = ?, data = ? WHERE no = ?",
            (first, end.number, whole, no),
        )
        self._over.append(end.run)
        return True

    def load(self, run_id: str, after: int) -> Snapshot | None:
        row = self._file.execute(
            f"SELECT {RUN}, epoch, no, start, first, last FROM run WHERE id = ?", (run_id,)
        ).fetchone()
        if row is None:
            return None
        *values, epoch, no, start, first, last = row
        if last is None:
            rows = self._journal.of(no, start, after)
        elif last > after:
            (data,) = self._file.execute("SELECT data FROM run WHERE no = ?", (no,)).fetchone()
            rows = [(first, data)]
        else:
            rows = []
        pieces = (Segment(number, decode(text)).after(after) for number, text in rows)
        return Snapshot(Run(*values), [piece for piece in pieces if piece.events], epoch)

    def follow(self, run_id: str, after: int) -> Sequence[Segment]:
        return self._follower.start(run_id, after)

    def unfollow(self, run_id: str) -> None:
        self._follower.stop(run_id)

    def missing(self, run_ids: Collection[str]) -> set[str]:
        return {
            run_id
            for run_id in run_ids
            if not self._file.execute("SELECT 1 FROM run WHERE id = ?", (run_id,)).fetchone()
        }

    def repair(self, runs: Sequence[Run]) -> set[str]:
        return self.missing([run.id for run in runs])

    def forget(self, run_id: str) -> None:
        self._own.pop(run_id, None)

    def followers(self, run_id: str) -> bool:
        return self._follower.anybody(run_id)

    @property
    def rest(self) -> float | None:
        if self._follower.active:
            return FOLLOW_SECONDS
        return OWN_SECONDS if self._own else None

    def poll(self) -> None:
        self._follower.seek(self._listener)
        if not (self._follower.active or self._own):
            return
        version = self._file.pragma("data_version")
        if version == self._version:
            return
        self._follower.read(self._listener)
        for run_id, no in self._notices.mine().items():
            self._own.pop(run_id, None)
            self._listener.stale(run_id)
            self._notices.clear(no)
        self._version = version

    def started(self, key: str) -> str | None:
        found = self._file.execute("SELECT id FROM run WHERE key = ?", (key,)).fetchone()
        return found[0] if found else None

    def latest(self, chat: str) -> str | None:
        found = self._file.execute(
            "SELECT id FROM run WHERE chat = ? ORDER BY no DESC LIMIT 1", (chat,)
        ).fetchone()
        return found[0] if found else None

    def leave_chat(self, chat: str, run_id: str) -> None:
        # The runs before it too, or the last of them would be the latest.
        self._file.execute(
            "UPDATE run SET chat = NULL WHERE chat = ? AND no <= (SELECT no FROM run WHERE id = ?)",
            (chat, run_id),
        )

    def running(self, owner: str) -> int:
        (count,) = self._file.execute(
            "SELECT count(*) FROM run WHERE token IS NULL AND owner = ?", (owner,)
        ).fetchone()
        return t.cast(int, count)

    def beat(self) -> None:
        self._processes.beat()

    def orphans(self) -> list[tuple[str, int]]:
        return self._processes.orphans()

    def told(self, run_id: str) -> None:
        self._processes.told(run_id)

    def untold(self, doubtful: Collection[str]) -> list[str]:
        return self._processes.untold()  # Whether anybody has heard of it or not.

    def sweep(self) -> bool:
        return self._sweep.run()

    def _take(self, run_id: str, no: int, said: Sequence[tuple[int, str]]) -> None:
        """This process owns a run that has said this much."""
        own = self._own[run_id] = Own(no, Length(self._bounds), dict(said))
        for first, data in said:
            own.length.add(first, len(data))
        self._begun.append(run_id)

    def _write(self, batches: Sequence[Batch]) -> None:
        rows = []
        cuts = []
        for run_id, first, _, data, _ in batches:
            own = self._own[run_id]
            # Under its number: where a round is done again, it is said once.
            own.said[first] = data
            least = own.length.add(first, len(data))
            if least is not None:
                cuts.append((own, least))
            rows.append((own.no, first, data))
        self._journal.add(rows)
        for own, least in cuts:
            own.said = {number: data for number, data in own.said.items() if number >= least}
            self._journal.cut(own.no, least)
