"""The file: opened and checked, written in transactions, and recognised when it was replaced."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
import typing as t
from collections.abc import Iterator

from flask_aistream.stores.sqlite import tables

BUSY_SECONDS = 1.0

OPEN_SECONDS = 10.0
"""All workers open the file at once, and the first one makes the tables, on a disk that may be busy."""

WAL_BYTES = 8 * 1024 * 1024

PRIVATE = 0o600

TRANSACTION = ("BEGIN IMMEDIATE", "COMMIT", ("ROLLBACK",))
SAVEPOINT = ("SAVEPOINT job", "RELEASE job", ("ROLLBACK TO job", "RELEASE job"))
"""Statements that begin, complete and undo."""

OWN = (
    sqlite3.ProgrammingError,
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.NotSupportedError,
)
"""Errors of one statement or its values."""


class SqliteFile:
    """
    :param path: On a local disk.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._db: t.Any = None
        self._unchecked = True
        self._opened: tuple[int, int] | None = None

    def open(self) -> bool:
        """
        :returns: Whether it is another file than the last time.
        """
        self.close()
        make_private(self._path)
        # After an outage, callers wait for an answer.
        patience = OPEN_SECONDS if self._opened is None else BUSY_SECONDS
        self._db = sqlite3.connect(
            self._path, timeout=patience, isolation_level=None, check_same_thread=False
        )
        if self._unchecked:
            check_integrity(self._db)
            self._unchecked = False
        # Takes effect on a new file only.
        self.execute("PRAGMA auto_vacuum = INCREMENTAL")
        switch_to_wal(self._db, patience)
        # A crash of the machine may lose the last moments, but damages nothing.
        self.execute("PRAGMA synchronous = NORMAL")
        # Of the file beside it, which a reader may keep from being written over for a while.
        self.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
        with self.transaction():
            tables.make(self._db)
            # Opening must show that writing works: on a read-only disk reading does.
            self.execute("DELETE FROM process WHERE id = ?", ("",))
        self.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
        before, self._opened = self._opened, self._on_disk()
        return before not in (None, self._opened)

    def close(self) -> None:
        if self._db is not None:
            db, self._db = self._db, None
            db.close()

    def execute(self, statement: str, values: t.Sequence[t.Any] = ()) -> t.Any:
        return self._db.execute(statement, values)

    def pragma(self, name: str) -> int:
        return t.cast(int, self.execute(f"PRAGMA {name}").fetchone()[0])

    @property
    def in_transaction(self) -> bool:
        return t.cast(bool, self._db.in_transaction)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction; within another one, a savepoint."""
        begin, commit, undo = SAVEPOINT if self.in_transaction else TRANSACTION
        self.execute(begin)
        try:
            yield
            self.execute(commit)
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                for statement in undo:
                    self.execute(statement)
            raise

    def suspect(self) -> None:
        """Check every page the next time it is opened: a damaged file can be opened all the same."""
        self._unchecked = True

    def check(self) -> None:
        """
        :raises sqlite3.OperationalError: The path names another file now. An open connection does not notice.
        """
        if self._on_disk() != self._opened:
            raise sqlite3.OperationalError(f"the file {self._path} is not the one that was opened")

    def _on_disk(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino


def make_private(path: str) -> None:
    """Only this user may read what clients and models have said. SQLite gives the files beside it the same mode."""
    with contextlib.suppress(OSError):  # SQLite reports it.
        # Never opened where it exists: closing it would release the locks of every connection of this process.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE))
    for name in (path, f"{path}-wal", f"{path}-shm"):
        with contextlib.suppress(OSError):
            if stat.S_IMODE(os.stat(name).st_mode) != PRIVATE:
                os.chmod(name, PRIVATE)


def check_integrity(db: sqlite3.Connection) -> None:
    """
    :raises sqlite3.DatabaseError: A page is damaged.
    """
    (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(
            f"the file is damaged ({' '.join(found.split())}); restore it or name a new file"
        )


def is_damage(error: Exception) -> bool:
    return type(error) is sqlite3.DatabaseError


def is_outage(error: Exception) -> bool:
    """Whether the file, its disk or a lock keeps every statement from being done."""
    if isinstance(error, OSError):
        return True
    if not isinstance(error, sqlite3.Error) or isinstance(error, OWN):
        return False
    # A generic error is one statement's own, unless the tables are gone. (Python 3.10 does not name it.)
    generic = getattr(error, "sqlite_errorname", "") == "SQLITE_ERROR"
    return not generic or str(error).startswith("no such table")


def switch_to_wal(db: sqlite3.Connection, patience: float) -> None:
    """Set the journal mode. Two processes that do so at once get an error instead of waiting."""
    deadline = time.monotonic() + patience
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        # This statement waits. (time.sleep is patched under gevent, and not for an OS thread.)
        with contextlib.suppress(sqlite3.OperationalError):
            db.execute("BEGIN IMMEDIATE")
            db.execute("ROLLBACK")
