"""A file that the processes of one machine share.

A journal takes what all runs say, in the order of time, without an index: that makes a token cheap.
A run that has ended becomes one row, and what lies in the journal before the oldest living run is
dropped. Other processes see through ``PRAGMA data_version`` that something was written.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import astuple
from dataclasses import dataclass
from dataclasses import field

from flask_aistream.core.run import Run
from flask_aistream.errors import TooManyRuns
from flask_aistream.stores.engine import DEAD_SECONDS
from flask_aistream.stores.engine import Batch
from flask_aistream.stores.engine import Found
from flask_aistream.stores.engine import Length
from flask_aistream.stores.engine import Listener
from flask_aistream.stores.engine import Piece
from flask_aistream.stores.engine import decode

VERSION = 2
"""Of the tables. A file of another version is not touched."""

FOLLOW_SECONDS = 0.01
OWN_SECONDS = 0.2
"""How soon an owner learns that another process has ended or adopted its run."""

BUSY_SECONDS = 1.0

OPEN_SECONDS = 10.0
"""All workers open the file at once, and the first one makes the tables, on a disk that may be busy."""

WAL_BYTES = 8 * 1024 * 1024

FORGET = 16
"""Runs, between two looks whether there is room now."""

FREE_PAGES = 1024
"""Kept to be written on. Beyond these, and a quarter of the file, they are given back."""

GIVE_BACK = 2048
"""Pages, in one sweep."""

# One statement a group: every step lets go of the interpreter's lock, and a busy thread may take it
# for 5 ms. Only these sizes, so that the statements stay prepared.
SIZES = (64, 16, 4, 1)
INSERT = {
    n: "INSERT INTO journal (run, first, data) VALUES " + ", ".join(["(?, ?, ?)"] * n)
    for n in SIZES
}

TABLES = """
CREATE TABLE run (
    no INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, provider TEXT NOT NULL, created REAL NOT NULL,
    owner TEXT, key TEXT, fingerprint TEXT NOT NULL, chat TEXT,
    process TEXT NOT NULL,   -- that owns it; '' while it waits for one
    epoch INTEGER NOT NULL,  -- owners it has had
    request TEXT NOT NULL,   -- '' once it has ended
    start INTEGER NOT NULL,  -- the journal's last row before it
    token TEXT,              -- of the end; NULL while it runs
    ended_at REAL,
    teller TEXT,             -- the process that is to announce the end; NULL once that is done
    first INTEGER, last INTEGER, data TEXT -- all that was said, once it has ended
);
CREATE UNIQUE INDEX run_key ON run (key) WHERE key IS NOT NULL;
CREATE INDEX run_chat ON run (chat, no) WHERE chat IS NOT NULL;
CREATE INDEX run_live ON run (process) WHERE token IS NULL;
CREATE INDEX run_ended ON run (ended_at) WHERE token IS NOT NULL;
CREATE INDEX run_untold ON run (teller) WHERE teller IS NOT NULL;
CREATE TABLE journal (id INTEGER PRIMARY KEY, run INTEGER NOT NULL, first INTEGER NOT NULL, data TEXT NOT NULL);
CREATE TABLE process (id TEXT PRIMARY KEY, beats INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE follower (run INTEGER, process TEXT, PRIMARY KEY (run, process)) WITHOUT ROWID;
CREATE TABLE notice (  -- runs that their owner does not know to be ended or adopted
    process TEXT, run INTEGER, PRIMARY KEY (process, run)
) WITHOUT ROWID;
"""

FORGETTABLE = "token IS NOT NULL AND teller IS NULL"
"""What nobody has been told of yet is kept."""

RUN = "id, provider, created, owner, key, fingerprint, chat, request"


@dataclass(slots=True)
class Own:
    """A living run of this process, and all it has said."""

    no: int
    length: Length
    said: dict[int, str] = field(default_factory=dict)


@dataclass(slots=True)
class Followed:
    """A foreign run that somebody here reads.

    :param seen: The last row of the journal that was looked at.
    """

    no: int
    seen: int


class SqliteEngine:
    """
    :param path: Of the file, on a local disk.
    :param name: Of this process, unlike any other's.
    :param retain: Seconds a finished run is kept; ``None`` for ever.
    :param max_runs: Finished runs kept at most.
    :param max_events: Of one run, kept at most.
    :param log_bytes: Of one run, kept at most.
    :param store_bytes: Of the file, without what may be written over; ``None`` for any number.
    :param clock: Seconds since the epoch.
    """

    native = True
    faults: tuple[type[Exception], ...] = (sqlite3.Error,)

    def __init__(
        self,
        path: str,
        name: str,
        *,
        retain: float | None = None,
        max_runs: int | None = None,
        max_events: int | None = None,
        log_bytes: int | None = None,
        store_bytes: int | None = None,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._name = name
        self._retain = retain
        self._max_runs = max_runs
        self._max_events = max_events
        self._log_bytes = log_bytes
        self._store_bytes = store_bytes
        self._clock = clock
        self._ticks = ticks
        self._db: t.Any = None
        self._own: dict[str, Own] = {}
        self._begun: list[str] = []
        self._over: list[str] = []
        self._followed: dict[str, Followed] = {}
        self._sought: set[str] = set()
        self._file: tuple[int, int] | None = None
        self._version: int | None = None
        self._beats: dict[str, tuple[int, float]] = {}
        self._looked = 0.0
        self._dead: list[str] = []

    def open(self, listener: Listener) -> None:
        self._listener = listener
        self.close()
        # After a fault, somebody may be waiting to be told.
        patience = OPEN_SECONDS if self._file is None else BUSY_SECONDS
        self._db = sqlite3.connect(
            self._path, timeout=patience, isolation_level=None, check_same_thread=False
        )
        # Takes effect on a new file only.
        self._db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        switch_to_wal(self._db, patience)
        # A crash of the machine may lose the last moments, but damages nothing.
        self._db.execute("PRAGMA synchronous = NORMAL")
        # Of the file beside it, which a reader may keep from being written over for a while.
        self._db.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
        with self.together():
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version == 0:
                # executescript() would commit first, and two processes may be here at once.
                for statement in TABLES.split(";\n"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {VERSION}")
            elif version != VERSION:
                raise sqlite3.DatabaseError(
                    f"the file was made by another version of flask_aistream (tables {version}, "
                    f"here {VERSION}); name a new file"
                )
            # Opening must show that writing works: on a read-only disk reading does.
            self._db.execute("DELETE FROM process WHERE id = ?", ("",))
        self._db.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
        self._version = None
        before, self._file = self._file, self._on_disk()
        if before not in (None, self._file):
            # What is known of a file that is gone says nothing of this one.
            self._own.clear()
            self._sought.update(self._followed)
            self._followed.clear()
            listener.stale(None)

    def close(self) -> None:
        if self._db is not None:
            db, self._db = self._db, None
            db.close()

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        self._begun, self._over = [], []
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            for run_id in self._begun:
                self._own.pop(run_id, None)
            raise
        for run_id in self._over:
            self._own.pop(run_id, None)

    def create(self, run: Run, begin: Batch, most: int | None = None) -> str:
        db = self._db
        taken = db.execute(
            "SELECT id, no FROM run WHERE id = ? OR key = ?", (run.id, run.key)
        ).fetchone()
        if taken:
            if taken[0] == run.id and begin.epoch:  # By the same call, before a fault.
                self._take(run.id, taken[1], [(begin.first, begin.data)])
            return t.cast(str, taken[0])
        if most is not None and run.owner is not None and self.running(run.owner) >= most:
            raise TooManyRuns(most)
        self.beat()
        (start,) = db.execute("SELECT coalesce(max(id), 0) FROM journal").fetchone()
        added = db.execute(
            f"INSERT INTO run ({RUN}, process, epoch, start) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*astuple(run), self._name if begin.epoch else "", begin.epoch, start),
        )
        if begin.epoch:
            self._take(run.id, added.lastrowid, [])
            self._write([begin])
        else:
            self._insert([(added.lastrowid, begin.first, begin.data)])
        return run.id

    def restore(self, run: Run, everything: Batch) -> bool:
        # A file forgets nothing, unless it was deleted and made anew.
        found = self._db.execute(
            "SELECT token IS NULL AND epoch <= ? FROM run WHERE id = ?", (everything.epoch, run.id)
        ).fetchone()
        if found and not found[0]:
            return False
        self.create(run, everything)
        return True

    def adopt(self, run_id: str, epoch: int) -> bool:
        db = self._db
        row = db.execute(
            "SELECT no, start, process, epoch FROM run WHERE id = ? AND token IS NULL", (run_id,)
        ).fetchone()
        if row is None:
            return False
        no, start, process, now = row
        if (process, now) != (self._name, epoch + 1):  # Else by the same call, before a fault.
            if now != epoch:
                return False
            self.beat()
            db.execute(
                "UPDATE run SET process = ?, epoch = epoch + 1 WHERE no = ?", (self._name, no)
            )
            self._notify(process, no)
            db.execute("DELETE FROM notice WHERE process = ? AND run = ?", (self._name, no))
        self._take(run_id, no, self._journal(no, start, -1))
        return True

    def write(self, batches: Sequence[Batch]) -> list[str]:
        ended = self._notices()
        self._write(
            [batch for batch in batches if batch.run not in ended and batch.run in self._own]
        )
        return [batch.run for batch in batches if batch.run in ended or batch.run not in self._own]

    def release(self, run_id: str, epoch: int) -> bool:
        self._db.execute(
            "UPDATE run SET process = '' WHERE id = ? AND epoch = ? AND process = ? AND token IS NULL",
            (run_id, epoch, self._name),
        )
        row = self._db.execute("SELECT process, epoch FROM run WHERE id = ?", (run_id,)).fetchone()
        if row != ("", epoch):
            return False
        self._over.append(run_id)
        return True

    def end(
        self,
        run_id: str,
        number: int,
        data: str,
        token: str,
        *,
        exactly: bool,
        epoch: int | None,
        announced: bool,
    ) -> bool:
        db = self._db
        changed = db.execute(
            "UPDATE run SET token = ?, ended_at = ?, teller = ?, request = '' "
            "WHERE id = ? AND token IS NULL AND epoch = coalesce(?, epoch)",
            (token, self._clock(), self._name if announced else None, run_id, epoch),
        )
        if not changed.rowcount:
            winner = db.execute("SELECT token FROM run WHERE id = ?", (run_id,)).fetchone()
            return winner is not None and winner[0] == token
        no, start, process = db.execute(
            "SELECT no, start, process FROM run WHERE id = ?", (run_id,)
        ).fetchone()
        self._notify(process, no)
        own = self._own.get(run_id) if process == self._name else None
        said = dict(own.said) if own else dict(self._journal(no, start, -1))
        said[number] = data
        first, whole = joined(said, number - (self._max_events or number))
        self._insert([(no, number, data)])
        db.execute(
            "UPDATE run SET first = ?, last = ?, data = ? WHERE no = ?", (first, number, whole, no)
        )
        self._over.append(run_id)
        return True

    def load(self, run_id: str, after: int) -> Found | None:
        row = self._db.execute(
            f"SELECT {RUN}, epoch, no, start, first, last FROM run WHERE id = ?", (run_id,)
        ).fetchone()
        if row is None:
            return None
        *values, epoch, no, start, first, last = row
        if last is None:
            rows = self._journal(no, start, after)
        elif last > after:
            (data,) = self._db.execute("SELECT data FROM run WHERE no = ?", (no,)).fetchone()
            rows = [(first, data)]
        else:
            rows = []
        pieces = (Piece(number, decode(text)).after(after) for number, text in rows)
        return Found(Run(*values), [piece for piece in pieces if piece.events], epoch)

    def follow(self, run_id: str, after: int) -> Sequence[Piece]:
        found = self.load(run_id, after)
        if found is None:
            return ()
        (no,) = self._db.execute("SELECT no FROM run WHERE id = ?", (run_id,)).fetchone()
        (seen,) = self._db.execute("SELECT coalesce(max(id), 0) FROM journal").fetchone()
        if not found.ended:
            self._followed[run_id] = Followed(no, seen)
            self.beat()
            self._db.execute("INSERT OR IGNORE INTO follower VALUES (?, ?)", (no, self._name))
        return found.pieces

    def unfollow(self, run_id: str) -> None:
        self._followed.pop(run_id, None)
        self._sought.discard(run_id)
        self._db.execute(
            "DELETE FROM follower WHERE process = ? AND run = (SELECT no FROM run WHERE id = ?)",
            (self._name, run_id),
        )

    def followers(self, run_id: str) -> bool:
        found = self._db.execute(
            "SELECT 1 FROM follower JOIN run ON run.no = follower.run WHERE run.id = ? LIMIT 1",
            (run_id,),
        )
        return found.fetchone() is not None

    @property
    def rest(self) -> float | None:
        if self._followed or self._sought:
            return FOLLOW_SECONDS
        return OWN_SECONDS if self._own else None

    def poll(self) -> None:
        if self._sought:
            self._seek()
        if not (self._followed or self._own):
            return
        (version,) = self._db.execute("PRAGMA data_version").fetchone()
        if version == self._version:
            return
        if self._followed:
            self._read_journal()
        for run_id in self._notices():
            self._own.pop(run_id, None)
            self._listener.stale(run_id)
            self._db.execute(
                "DELETE FROM notice WHERE process = ? AND run = (SELECT no FROM run WHERE id = ?)",
                (self._name, run_id),
            )
        self._version = version

    def started(self, key: str) -> str | None:
        found = self._db.execute("SELECT id FROM run WHERE key = ?", (key,)).fetchone()
        return found[0] if found else None

    def latest(self, chat: str) -> str | None:
        found = self._db.execute(
            "SELECT id FROM run WHERE chat = ? ORDER BY no DESC LIMIT 1", (chat,)
        ).fetchone()
        return found[0] if found else None

    def leave_chat(self, chat: str, run_id: str) -> None:
        # The runs before it too, or the last of them would be the latest.
        self._db.execute(
            "UPDATE run SET chat = NULL WHERE chat = ? AND no <= (SELECT no FROM run WHERE id = ?)",
            (chat, run_id),
        )

    def running(self, owner: str) -> int:
        (count,) = self._db.execute(
            "SELECT count(*) FROM run WHERE token IS NULL AND owner = ?", (owner,)
        ).fetchone()
        return t.cast(int, count)

    def beat(self) -> None:
        self._check_file()
        self._db.execute(
            "INSERT INTO process VALUES (?, 1) ON CONFLICT (id) DO UPDATE SET beats = beats + 1",
            (self._name,),
        )

    def orphans(self) -> list[tuple[str, int]]:
        """A process is dead when we have watched its beats stand still: no clock but ours is asked,
        and not the time in which we could not look."""
        self._check_file()
        now = self._ticks()
        if now - self._looked > DEAD_SECONDS / 2:
            self._beats.clear()
        self._looked = now
        rows = self._db.execute(
            "SELECT name, coalesce(beats, 0) FROM (SELECT process AS name FROM run WHERE token IS NULL "
            "UNION SELECT process FROM follower "
            "UNION SELECT teller FROM run WHERE teller IS NOT NULL) "
            "LEFT JOIN process ON id = name WHERE name NOT IN ('', ?)",
            (self._name,),
        ).fetchall()
        seen = dict(rows)
        self._beats = {
            name: self._beats[name] if self._beats.get(name, (-1,))[0] == beats else (beats, now)
            for name, beats in seen.items()
        }
        dead = [name for name, (_, since) in self._beats.items() if now - since >= DEAD_SECONDS]
        self._dead = dead
        for name in dead:
            self._db.execute("DELETE FROM follower WHERE process = ?", (name,))
        return [
            orphan
            for name in (*dead, "")
            for orphan in self._db.execute(
                "SELECT id, epoch FROM run WHERE token IS NULL AND process = ?", (name,)
            )
        ]

    def told(self, run_id: str) -> None:
        self._db.execute(
            "UPDATE run SET teller = NULL WHERE id = ? AND teller = ?", (run_id, self._name)
        )

    def untold(self) -> list[str]:
        for name in self._dead:
            self._db.execute("UPDATE run SET teller = ? WHERE teller = ?", (self._name, name))
        rows = self._db.execute("SELECT id FROM run WHERE teller = ?", (self._name,))
        return [run_id for (run_id,) in rows]

    def sweep(self) -> bool:
        db = self._db
        if self._retain is not None:
            limit = self._clock() - self._retain
            db.execute(f"DELETE FROM run WHERE {FORGETTABLE} AND ended_at <= ?", (limit,))
        if self._max_runs is not None:
            db.execute(
                f"DELETE FROM run WHERE no IN (SELECT no FROM run WHERE {FORGETTABLE} "
                "ORDER BY ended_at DESC, no DESC LIMIT -1 OFFSET ?)",
                (self._max_runs,),
            )
        db.execute("DELETE FROM notice WHERE run NOT IN (SELECT no FROM run)")
        # The last row stays: a row's number must never come back.
        db.execute(
            "DELETE FROM journal WHERE id < (SELECT max(id) FROM journal) AND id <= "
            "coalesce((SELECT min(start) FROM run WHERE token IS NULL), (SELECT max(id) FROM journal))"
        )
        db.execute(
            "DELETE FROM process WHERE id <> ? AND id NOT IN "
            "(SELECT process FROM run WHERE token IS NULL UNION SELECT process FROM follower "
            "UNION SELECT teller FROM run WHERE teller IS NOT NULL)",
            (self._name,),
        )
        full = self._store_bytes is not None and self._is_full(self._store_bytes)
        self._give_back()
        return full

    def _is_full(self, most: int) -> bool:
        """Forget more, if need be, and the oldest first.

        :returns: It was not enough.
        """
        if self._bytes() <= most:
            return False
        # What has ended is kept in one piece. It is in the journal too, as far back as the oldest
        # living run.
        self._db.execute(
            "DELETE FROM journal WHERE id < (SELECT max(id) FROM journal) AND "
            "run NOT IN (SELECT no FROM run WHERE token IS NULL)"
        )
        while self._bytes() > most:
            dropped = self._db.execute(
                f"DELETE FROM run WHERE no IN (SELECT no FROM run WHERE {FORGETTABLE} "
                "ORDER BY ended_at, no LIMIT ?)",
                (FORGET,),
            )
            if not dropped.rowcount:
                return True
        return False

    def _give_back(self) -> None:
        """Make the file shorter, where much of it is free. A little at a time: others want to write."""
        free = self._pragma("freelist_count")
        if free > FREE_PAGES + self._pragma("page_count") // 4:
            for _ in range(min(free - FREE_PAGES, GIVE_BACK)):
                self._db.execute("PRAGMA incremental_vacuum(1)")

    def _bytes(self) -> int:
        pages = self._pragma("page_count") - self._pragma("freelist_count")
        return pages * self._pragma("page_size")

    def _pragma(self, name: str) -> int:
        return t.cast(int, self._db.execute(f"PRAGMA {name}").fetchone()[0])

    def _take(self, run_id: str, no: int, said: Sequence[tuple[int, str]]) -> None:
        """This process owns a run that has said this much."""
        own = self._own[run_id] = Own(no, Length(self._max_events, self._log_bytes), dict(said))
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
        self._insert(rows)
        for own, least in cuts:
            self._cut(own, least)

    def _cut(self, own: Own, least: int) -> None:
        """Drop what a living run has said before record ``least``."""
        own.said = {number: data for number, data in own.said.items() if number >= least}
        (start,) = self._db.execute("SELECT start FROM run WHERE no = ?", (own.no,)).fetchone()
        self._db.execute(
            "DELETE FROM journal WHERE id > ? AND run = ? AND first < ?", (start, own.no, least)
        )
        self._db.execute(
            "UPDATE run SET start = (SELECT min(id) - 1 FROM journal WHERE id > start AND run = no) "
            "WHERE no = ?",
            (own.no,),
        )

    def _insert(self, rows: list[tuple[int, int, str]]) -> None:
        at = 0
        for size in SIZES:
            while len(rows) - at >= size:
                values = [value for row in rows[at : at + size] for value in row]
                self._db.execute(INSERT[size], values)
                at += size

    def _journal(self, no: int, start: int, after: int) -> list[tuple[int, str]]:
        """What a living run has said, from the batch on that holds record ``after + 1``: in a file that was
        made anew, it may begin before that."""
        found: list[tuple[int, str]] = []
        # Backwards, as mostly little is asked for.
        rows = self._db.execute(
            "SELECT first, data FROM journal WHERE id > ? AND run = ? ORDER BY id DESC", (start, no)
        )
        # A statement that is left half read would keep what it may still read from being written over.
        with contextlib.closing(rows):
            for row in rows:
                found.append(row)
                if row[0] <= after + 1:
                    break
        return found[::-1]

    def _seek(self) -> None:
        """The file was made anew, and the owners of living runs write these anew."""
        for run_id in list(self._sought):
            if self.load(run_id, -1) is not None:
                self._sought.discard(run_id)
                self.follow(run_id, -1)
                self._listener.stale(run_id)

    def _read_journal(self) -> None:
        ids = {followed.no: run_id for run_id, followed in self._followed.items()}
        seen = min(followed.seen for followed in self._followed.values())
        marks = ", ".join("?" * len(ids))
        news: dict[int, list[Piece]] = {}
        for row, no, first, data in self._db.execute(
            f"SELECT id, run, first, data FROM journal WHERE id > ? AND run IN ({marks}) ORDER BY id",
            (seen, *ids),
        ):
            if row > self._followed[ids[no]].seen:
                news.setdefault(no, []).append(Piece(first, decode(data)))
            seen = row
        for no, pieces in news.items():
            self._followed[ids[no]].seen = seen
            self._listener.arrived(ids[no], pieces)
        # What has ended may have left the journal already.
        for (run_id,) in self._db.execute(
            f"SELECT id FROM run WHERE token IS NOT NULL AND no IN ({marks})", tuple(ids)
        ).fetchall():
            del self._followed[run_id]
            self._listener.stale(run_id)

    def _check_file(self) -> None:
        """Who has a file open does not notice when it is deleted, or another is put in its place."""
        if self._on_disk() != self._file:
            raise sqlite3.OperationalError(f"the file {self._path} is not the one that was opened")

    def _on_disk(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def _notify(self, process: str, no: int) -> None:
        """What this process does to a run, its owner is to know."""
        if process not in ("", self._name):
            self._db.execute("INSERT OR IGNORE INTO notice VALUES (?, ?)", (process, no))

    def _notices(self) -> set[str]:
        rows = self._db.execute(
            "SELECT id FROM notice JOIN run ON no = run WHERE notice.process = ?", (self._name,)
        )
        return {run_id for (run_id,) in rows}


def joined(said: dict[int, str], least: int) -> tuple[int, str]:
    """JSON arrays as one, without those that lie before number ``least``."""
    numbers = sorted(said)
    kept = [number for number in numbers if number >= least] or numbers[-1:]
    return kept[0], "[" + ",".join(said[number][1:-1] for number in kept) + "]"


def switch_to_wal(db: sqlite3.Connection, patience: float) -> None:
    """Two processes that do this at once get an error where they should have to wait."""
    deadline = time.monotonic() + patience
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        # This one waits. (Not time.sleep: under gevent it is not for this thread.)
        with contextlib.suppress(sqlite3.OperationalError):
            db.execute("BEGIN IMMEDIATE")
            db.execute("ROLLBACK")
