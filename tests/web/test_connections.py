"""An open stream holds no database connection: with a real pool, as Flask-SQLAlchemy makes it."""

from __future__ import annotations

import threading
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from flask_aistream import AIStream
from flask_aistream import ChatRequest
from flask_aistream import RunEnded
from flask_aistream import run_ended
from flask_aistream.core.events import Finished
from flask_aistream.testing import DEADLINE
from flask_aistream.testing import Gate
from flask_aistream.testing import Script
from flask_aistream.testing import StreamClient
from flask_aistream.web.extension import install
from tests.lazy import LazyModule
from tests.runs.support import until

if t.TYPE_CHECKING:
    import flask_sqlalchemy
    import sqlalchemy
else:
    flask_sqlalchemy = LazyModule("flask_sqlalchemy")
    sqlalchemy = LazyModule("sqlalchemy")

POOL = 5
RUNS = 50


class Database:
    """A pool of ``POOL`` connections, and no patience to wait for one."""

    def __init__(self, app: Flask, path: Path) -> None:
        app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{path}"
        app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {
            "poolclass": sqlalchemy.QueuePool,
            "pool_size": POOL,
            "max_overflow": 0,
            "pool_timeout": 0.1,
        }
        self.db = flask_sqlalchemy.SQLAlchemy(app)
        self.queries = 0
        with app.app_context():
            self.pool = t.cast("sqlalchemy.QueuePool", self.db.engine.pool)

    def query(self, *_: object) -> None:
        """Take a connection and keep it until the session's end, as any view does."""
        self.db.session.execute(sqlalchemy.text("select 1"))
        self.queries += 1

    @property
    def held(self) -> int:
        return self.pool.checkedout()


@pytest.fixture
def database(app: Flask, tmp_path: Path) -> Iterator[Database]:
    database = Database(app, tmp_path / "app.sqlite")
    yield database
    database.pool.dispose()


def test_more_streams_than_pooled_connections_can_be_open(
    app: Flask, ai: AIStream, streams: StreamClient, database: Database
) -> None:
    gate = Gate()
    ai.provider(name="chat")(Script("a", gate, "b"))
    app.before_request(database.query)

    @ai.identify
    def caller() -> str:
        database.query()
        return "ann"

    ai.authorize(database.query)
    open_now: list[bool] = []

    def read() -> None:  # In a thread of its own, as under a server: contexts belong to threads.
        with streams.open("/ai/chat?prompt=Hi") as stream:
            events = [next(stream), next(stream)]
            open_now.append(events[1] == "a")
            list(stream)

    readers = [threading.Thread(target=read) for _ in range(3 * POOL)]
    for count, reader in enumerate(readers, 1):
        reader.start()
        until(lambda count=count: len(open_now) == count, "the next stream")  # type: ignore[misc]
        assert database.queries == 3 * count
        assert database.held == 0
    gate.open()
    for reader in readers:
        reader.join(DEADLINE)
    assert open_now == [True] * 3 * POOL
    assert database.held == 0


def test_a_provider_that_queried_holds_a_connection_until_it_releases_it(
    ai: AIStream, streams: StreamClient, database: Database
) -> None:
    asked, released = Gate(), Gate()

    @ai.provider
    def chat(request: ChatRequest) -> Iterator[str]:
        database.query()
        yield "a"
        asked.pass_through()
        database.db.session.remove()
        yield "b"
        released.pass_through()

    with streams.open("/ai/chat?prompt=Hi") as stream:
        asked.wait_reached()
        assert database.held == 1
        asked.open()
        released.wait_reached()
        assert database.held == 0
        released.open()
        list(stream)


@pytest.mark.parametrize("release", [True, False])
def test_with_release_db_more_runs_than_pooled_connections_stream_at_once(
    app: Flask,
    ai: AIStream,
    database: Database,
    caplog: pytest.LogCaptureFixture,
    *,
    release: bool,
) -> None:
    gate = Gate()
    ai.provider(name="chat", release_db=release)(Script(database.query, "a", gate, "b"))
    with app.app_context():
        runs = []
        for _ in range(RUNS if release else POOL + 1):
            runs.append(ai.start("chat", "Hi", background=True))
            until(lambda: runs[-1].text or runs[-1].status == "failed")
    assert database.held == (0 if release else POOL)
    gate.open()
    outcomes = [run.wait(DEADLINE) for run in runs]
    assert [run.text for run in runs[:POOL]] == ["ab"] * POOL
    assert all(isinstance(it, Finished) for it in outcomes) == release
    assert ("release_db=True" in caplog.text) == (not release)
    until(lambda: database.held == 0)


def test_release_db_loses_no_row_and_keeps_loaded_values(
    app: Flask, ai: AIStream, streams: StreamClient, database: Database
) -> None:
    db = database.db

    class Note(db.Model):  # type: ignore[name-defined]
        id = db.Column(db.Integer, primary_key=True)
        text = db.Column(db.String)

    with app.app_context():
        db.create_all()

    @ai.provider(release_db=True)
    def chat(request: ChatRequest) -> Iterator[str]:
        note = Note(text="unsaved")
        db.session.add(note)
        yield "a"
        assert database.held == 0
        yield note.text
        yield db.session.scalars(db.select(Note)).one().text

    assert streams.read("/ai/chat?prompt=Hi").text == "aunsavedunsaved"
    until(lambda: database.held == 0)
    with app.app_context():
        assert [note.text for note in db.session.scalars(db.select(Note))] == ["unsaved"]


def test_a_connection_that_a_provider_holds_for_long_is_logged_once(
    ai: AIStream,
    streams: StreamClient,
    database: Database,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flask_aistream.web.database.LONG_SECONDS", 0.02)
    remove = database.db.session.remove
    gates = {name: Gate() for name in ("returns-it", "holds-it", "holds-it-too")}
    for name, gate in gates.items():
        steps = [database.query, *([remove] if name == "returns-it" else []), "a", gate]
        ai.provider(name=name)(Script(*steps))
    for name, gate in gates.items():
        with streams.open(f"/ai/{name}?prompt=Hi") as stream:
            next(stream)
            if name == "holds-it":
                until(lambda: "release_db=True" in caplog.text)
            gate.open()
            list(stream)
    (said,) = [it.getMessage() for it in caplog.records if "release_db" in it.getMessage()]
    assert "'holds-it' holds a database connection" in said


def test_release_db_without_flask_sqlalchemy_names_it(
    ai: AIStream, streams: StreamClient, caplog: pytest.LogCaptureFixture
) -> None:
    ai.provider(name="chat", release_db=True)(Script("a"))
    assert streams.open("/ai/chat?prompt=Hi").response.status_code == 500
    assert "does not use Flask-SQLAlchemy" in caplog.text


@pytest.mark.parametrize("steps", [(), (ValueError(),)])
def test_a_providers_connection_is_returned_at_its_end(
    app: Flask, ai: AIStream, streams: StreamClient, database: Database, steps: tuple[t.Any, ...]
) -> None:
    ai.provider(name="chat")(Script(database.query, "a", *steps))
    for _ in range(2 * POOL):
        assert streams.read("/ai/chat?prompt=Hi").text == "a"
        until(lambda: install(app).process.runner.count == 0)
        until(lambda: database.held == 0)


def test_a_signal_receivers_connection_is_returned(
    app: Flask, ai: AIStream, streams: StreamClient, database: Database
) -> None:
    ai.provider(name="chat")(Script("a"))

    def bill(sender: Flask, ended: RunEnded) -> None:
        database.query()

    with run_ended.connected_to(bill, app):
        for count in range(1, 2 * POOL):
            streams.read("/ai/chat?prompt=Hi")
            until(lambda count=count: database.queries == count)  # type: ignore[misc]
            until(lambda: database.held == 0)


def test_reading_and_stopping_hold_no_connection(
    ai: AIStream, app: Flask, streams: StreamClient, database: Database
) -> None:
    ai.provider(name="chat")(Script("a"))
    app.before_request(database.query)
    run = streams.read("/ai/chat?prompt=Hi").run
    client = app.test_client()
    for _ in range(2 * POOL):
        client.get(f"/ai/runs/{run}")
        client.get(f"/ai/runs/{run}/events").close()
        client.post(f"/ai/runs/{run}/stop")
        assert database.held == 0
