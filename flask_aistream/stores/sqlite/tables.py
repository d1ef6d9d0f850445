"""The tables, and which version of them a file has."""

from __future__ import annotations

import contextlib
import sqlite3
from functools import cache

APPLICATION = 0x61697374
"""SQLite's ``application_id`` of a store's file: "aist"."""

FORMAT = 1
"""Oldest version that can work on the file, in its header. A newer version may add columns and tables."""

TABLES = """
CREATE TABLE run (
    no INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, provider TEXT NOT NULL, created REAL NOT NULL,
    app TEXT NOT NULL,       -- namespace of the application; below, that of the owner
    owner TEXT, key TEXT, fingerprint TEXT NOT NULL, chat TEXT, namespace TEXT NOT NULL,
    process TEXT NOT NULL,   -- its owner; '' while it waits for one
    epoch INTEGER NOT NULL,  -- owners it has had
    request TEXT NOT NULL,
    start INTEGER NOT NULL,  -- the journal's last row before it
    token TEXT,              -- of the end; NULL while it runs
    ended_at REAL,
    outbox TEXT,             -- process that delivers the end, '' for any; NULL once it is delivered
    deliveries INTEGER NOT NULL DEFAULT 0,
    first INTEGER, last INTEGER, data TEXT, -- all records, once it has ended
    chat_left INTEGER        -- 1: it, or a newer run of its chat, was read to its end
);
CREATE UNIQUE INDEX run_key ON run (app, key) WHERE key IS NOT NULL;
CREATE INDEX run_chat ON run (app, chat, no) WHERE chat IS NOT NULL;
CREATE INDEX run_live ON run (process) WHERE token IS NULL;
CREATE INDEX run_ended ON run (app, ended_at) WHERE token IS NOT NULL;
CREATE INDEX run_outbox ON run (outbox) WHERE outbox IS NOT NULL;
CREATE TABLE journal (id INTEGER PRIMARY KEY, run INTEGER NOT NULL, first INTEGER NOT NULL, data TEXT NOT NULL);
CREATE TABLE process (id TEXT PRIMARY KEY, beats INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE follower (run INTEGER, process TEXT, PRIMARY KEY (run, process)) WITHOUT ROWID;
CREATE TABLE notice (  -- runs whose owner does not know that they are ended or adopted
    process TEXT, run INTEGER, PRIMARY KEY (process, run)
) WITHOUT ROWID;
"""


def make(db: sqlite3.Connection) -> None:
    """Create the tables in a new file, within a transaction.

    :raises sqlite3.DatabaseError: It is another program's, or of another version.
    """
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (oldest,) = db.execute("PRAGMA user_version").fetchone()
    if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        create(db)
        db.execute(f"PRAGMA application_id = {APPLICATION}")
        db.execute(f"PRAGMA user_version = {FORMAT}")
    elif application != APPLICATION or oldest < 1:
        raise sqlite3.DatabaseError(
            "the file was made by another program, or by flask_aistream before format 1; name a new file"
        )
    elif oldest > FORMAT:
        raise sqlite3.DatabaseError(
            f"the file was made by a newer flask_aistream (format {oldest}, here {FORMAT}); name a new file"
        )
    else:
        add_columns(db)
        check_columns(db)


def add_columns(db: sqlite3.Connection) -> None:
    """Add the columns of this version to a file that an older one has made."""
    known = {name for (name,) in db.execute("SELECT name FROM pragma_table_info('run')")}
    if "chat_left" not in known:
        db.execute("ALTER TABLE run ADD COLUMN chat_left INTEGER")


def check_columns(db: sqlite3.Connection) -> None:
    if missing := columns() - columns_of(db):
        raise sqlite3.DatabaseError(
            f"the file lacks {'.'.join(min(missing))} of format {FORMAT}; restore it or name a new file"
        )


def create(db: sqlite3.Connection) -> None:
    # executescript() would commit first, and two processes may be here at once.
    for statement in TABLES.split(";\n"):
        db.execute(statement)


@cache
def columns() -> set[tuple[str, str]]:
    """Tables and columns that a file must have. A newer version may have added others."""
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        create(db)
        return columns_of(db)


def columns_of(db: sqlite3.Connection) -> set[tuple[str, str]]:
    tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return {
        (table, column)
        for (table,) in tables
        for (column,) in db.execute("SELECT name FROM pragma_table_info(?)", (table,))
    }
