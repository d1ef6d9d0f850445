"""The contract of an engine, kept in a file.

A journal takes the records of all living runs; a run that has ended becomes one row, and the journal before
the oldest living run is dropped. Other processes see through ``PRAGMA data_version`` that something was
written.
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

from flask_aistream.core.run import Run
from flask_aistream.errors import RunUnreadable
from flask_aistream.errors import TooManyRuns
from flask_aistream.stores.base import UNCONDITIONAL
from flask_aistream.stores.base import Conditions
from flask_aistream.stores.codec import decode
from flask_aistream.stores.codec import encode
from flask_aistream.stores.limits import UNLIMITED
from flask_aistream.stores.limits import Limits
from flask_aistream.stores.shared.engine import Batch
from flask_aistream.stores.shared.engine import End
from flask_aistream.stores.shared.engine import Listener
from flask_aistream.stores.shared.engine import Segment
from flask_aistream.stores.shared.engine import Snapshot
from flask_aistream.stores.sqlite.file import SqliteFile
from flask_aistream.stores.sqlite.file import is_damage
from flask_aistream.stores.sqlite.file import is_outage
from flask_aistream.stores.sqlite.following import SqliteFollowing
from flask_aistream.stores.sqlite.indexes import SqliteIndexes
from flask_aistream.stores.sqlite.journal import Journal
from flask_aistream.stores.sqlite.journal import joined
from flask_aistream.stores.sqlite.journal import marks
from flask_aistream.stores.sqlite.notices import Notices
from flask_aistream.stores.sqlite.outbox import SqliteOutbox
from flask_aistream.stores.sqlite.processes import SqliteProcesses
from flask_aistream.stores.sqlite.retention import SqliteRetention

COLUMNS = "id, provider, created, owner, key, fingerprint, chat, namespace, request"


class SqliteEngine:
    """
    :param path: Of the file, on a local disk.
    :param name: Of this process, unlike any other's.
    :param namespace: Of the application: the runs of others are invisible.
    :param clock: Seconds since the epoch.
    """

    native = True

    def __init__(
        self,
        path: str,
        name: str,
        limits: Limits = UNLIMITED,
        *,
        namespace: str = "",
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._app = namespace
        self._clock = clock
        # Row numbers of this process's living runs.
        self._own: dict[str, int] = {}
        self._file = SqliteFile(path)
        self._journal = Journal(self._file)
        self._notices = Notices(self._file, name)
        self._processes = SqliteProcesses(self._file, name, namespace, ticks)
        self.indexes = SqliteIndexes(self._file, namespace)
        self.outbox = SqliteOutbox(self._file, name, namespace, self._processes)
        self.following = SqliteFollowing(
            self._file, name, namespace, self._own, self._journal, self._processes, self._notices
        )
        self.retention = SqliteRetention(self._file, name, namespace, limits, clock)

    def is_outage(self, error: Exception) -> bool:
        return is_outage(error)

    def open(self, listener: Listener | None) -> None:
        self.following.begin(listener)
        if self._file.open():
            self._on_replaced()

    def close(self) -> None:
        self._file.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        own = dict(self._own) if self._file.in_transaction else None
        try:
            with self._file.transaction():
                yield
        except BaseException as error:
            if isinstance(error, sqlite3.Error) and is_damage(error):
                self._file.suspect()
            self._own.clear()
            self._own.update(own or {})
            if own is None:  # The whole round is undone: every row is looked up again.
                self.following.reset()
            raise

    def create(
        self,
        run: Run,
        batch: Batch,
        conditions: Conditions = UNCONDITIONAL,
    ) -> str:
        taken = self._file.execute(
            "SELECT id, no FROM run WHERE app = ? AND (id = ? OR key = ?) ORDER BY id != ?",
            (self._app, run.id, None if conditions.take_key else run.key, run.id),
        ).fetchone()
        if taken:
            if taken[0] == run.id and batch.epoch:  # By the same call, before an outage.
                self._own[run.id] = taken[1]
            return t.cast(str, taken[0])
        limit, previous = conditions.owner_limit, conditions.previous
        if limit is not None and self.indexes.running(run) >= limit:
            raise TooManyRuns(limit)
        if run.chat is not None and previous is not None:
            self.indexes.check_newest(run.chat, previous)
        if conditions.take_key:
            self.indexes.free_key(run)
        self._insert(run, batch)
        return run.id

    def restore(self, run: Run, batch: Batch) -> bool:
        found = self._file.execute(
            "SELECT no, start, token IS NULL AND epoch <= ? FROM run WHERE id = ?",
            (batch.epoch, run.id),
        ).fetchone()
        if found is None:
            self.indexes.free_key(run)
            self._insert(run, batch)
            return True
        no, start, living = found
        if living:
            self._journal.replace(no, start, batch.first, batch.data)
            self._file.execute(
                "UPDATE run SET process = ?, epoch = ? WHERE no = ?", (self._name, batch.epoch, no)
            )
            self._own[run.id] = no
        return bool(living)

    def assign(self, run_id: str, epoch: int, *, adopt: bool) -> bool:
        row = self._file.execute(
            "SELECT no, process, epoch FROM run WHERE id = ? AND app = ? AND token IS NULL",
            (run_id, self._app),
        ).fetchone()
        if row is None:
            return False
        no, process, now = row
        owner, next_epoch = (self._name, epoch + 1) if adopt else ("", epoch)
        if (process, now) != (owner, next_epoch):  # Else by the same call, before an outage.
            if now != epoch or (not adopt and process != self._name):
                return False
            self._processes.beat()
            self._file.execute(
                "UPDATE run SET process = ?, epoch = ? WHERE no = ?", (owner, next_epoch, no)
            )
            self._notices.leave(process, no)
            self._notices.clear(no)
        if adopt:
            self._own[run_id] = no
        else:
            self._own.pop(run_id, None)
        return True

    def append(self, batches: Sequence[Batch]) -> Collection[str]:
        lost = self._notices.mine()
        refused = {
            it.run
            for it in batches
            if it.run in lost or not self._is_current(it.run, it.epoch, it.first)
        }
        rows = [(self._own[it.run], it.first, it.data) for it in batches if it.run not in refused]
        self._journal.add(rows)
        for batch in batches:
            if batch.keep and batch.run not in refused:
                self._journal.cut(self._own[batch.run], batch.keep)
        return refused

    def end(self, end: End) -> bool | None:
        row = self._file.execute(
            "SELECT no, start, process, token, epoch FROM run WHERE id = ? AND app = ?",
            (end.run, self._app),
        ).fetchone()
        if row is None:
            return None
        no, start, process, token, epoch = row
        if token is not None or end.epoch not in (None, epoch):
            return bool(token == end.token)
        if end.log is not None and not self._is_current(end.run, epoch, end.number):
            return None
        number, first, data = self._whole(end, no, start)
        self._file.execute(
            "UPDATE run SET token = ?, ended_at = ?, outbox = ?, first = ?, last = ?, data = ? "
            "WHERE no = ?",
            (end.token, self._clock(), end.claimant(self._name), first, number, data, no),
        )
        self._journal.add([(no, number, end.data)])
        self._notices.leave(process, no)
        self._own.pop(end.run, None)
        return True

    def load(self, run_id: str, after: int) -> Snapshot | None:
        row = self._file.execute(
            f"SELECT {COLUMNS}, epoch, no, start, first, last FROM run WHERE id = ? AND app = ?",
            (run_id, self._app),
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
        try:
            segments = [Segment(number, decode(text)).after(after) for number, text in rows]
        except (ValueError, LookupError, TypeError) as error:
            raise RunUnreadable(run_id) from error
        return Snapshot(Run(*values), [it for it in segments if it.events], epoch)

    def heartbeat(self, runs: Collection[Run]) -> None:
        if not self._processes.beat():
            self._on_replaced()

    def ended(self, run_ids: Collection[str]) -> dict[str, bool]:
        ids = list(run_ids)
        found: dict[str, bool] = {}
        for at in range(0, len(ids), GROUP):
            group = ids[at : at + GROUP]
            rows = self._file.execute(
                f"SELECT id, token IS NOT NULL FROM run WHERE app = ? AND id IN ({marks(group)})",
                (self._app, *group),
            )
            found |= {run_id: bool(ended) for run_id, ended in rows}
        return found

    def orphans(self) -> list[tuple[str, int]]:
        return self._processes.orphans()

    def _on_replaced(self) -> None:
        """It is another file, or an earlier state of this one: row numbers of the last one are void."""
        self._own.clear()
        self.following.reset()
        if self.following.listener is not None:
            self.following.listener.stale(None)

    def _insert(self, run: Run, batch: Batch) -> None:
        self._processes.beat()
        process = self._name if batch.epoch else ""
        added = self._file.execute(
            f"INSERT INTO run ({COLUMNS}, app, process, epoch, start) VALUES ({marks(range(13))})",
            (*astuple(run), self._app, process, batch.epoch, self._journal.last),
        )
        self._journal.add([(added.lastrowid, batch.first, batch.data)])
        if batch.epoch:
            self._own[run.id] = added.lastrowid

    def _is_current(self, run_id: str, epoch: int, number: int) -> bool:
        """Whether this process owns the run; if that is not known, also whether ``number`` is the next record."""
        if run_id not in self._own:
            row = self._file.execute(
                "SELECT no, start FROM run WHERE id = ? AND process = ? AND epoch = ? AND token IS NULL",
                (run_id, self._name, epoch),
            ).fetchone()
            if row is None or self._journal.next(*row) != number:
                return False
            self._own[run_id] = row[0]
        return True

    def _whole(self, end: End, no: int, start: int) -> tuple[int, int, str]:
        """:returns: Number of the terminal event, number of the first record, and all of them as JSON."""
        if end.log is not None:
            return end.number, end.log.first, encode([*end.log.events, end.terminal])
        number = max(end.number, self._journal.next(no, start))
        return number, *joined([*self._journal.of(no, start), (number, end.data)])


GROUP = 500
"""Values of one statement."""
