"""A fault of one job, one record or one file stays where it is."""

from __future__ import annotations

import json
import re
import sqlite3
import stat
import subprocess
import sys
import threading
import time
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_aistream.core import events as ev
from flask_aistream.errors import RunUnreadable
from flask_aistream.errors import StoreUnavailable
from flask_aistream.errors import TooManyRuns
from flask_aistream.server.threads import Threads
from flask_aistream.stores.limits import Limits
from flask_aistream.stores.memory import MemoryStore
from flask_aistream.stores.redis.keys import Keys
from flask_aistream.stores.sqlite import SqliteEngine
from flask_aistream.stores.sqlite import tables
from flask_aistream.stores.urls import check_connection
from tests.server.servers import wait_for
from tests.stores.across import made
from tests.stores.across import sleep
from tests.stores.contract import MEGABYTE
from tests.stores.contract import begin
from tests.stores.contract import follow
from tests.stores.contract import queue
from tests.stores.contract import run_of
from tests.stores.redis_server import RedisServer
from tests.stores.shared import Stores
from tests.stores.shared import redis_stores
from tests.stores.shared import stores_over


@pytest.fixture
def server(redis_server: RedisServer) -> RedisServer:
    redis_server.empty()
    return redis_server


@pytest.fixture
def redis(server: RedisServer) -> Iterator[Stores]:
    """Stores over an empty Redis."""
    with redis_stores(server.url) as stores:
        yield stores


@pytest.mark.parametrize("kind", ["files", "redis"])
def test_a_job_that_cannot_be_done_fails_alone(kind: str, request: pytest.FixtureRequest) -> None:
    stores: Stores = request.getfixturevalue(kind)
    here, there = stores.make(name="here"), stores.make(name="there")
    log = made(here)
    wake_up = sleep(here)
    answers: dict[str, t.Any] = {}

    def ask(name: str, work: Callable[[], t.Any]) -> None:
        try:
            answers[name] = work()
        except Exception as error:
            answers[name] = error

    asked = {
        "malformed": lambda: here.latest("\ud800"),
        "create": lambda: begin(t.cast(t.Any, here), chat="half a character: \ud800"),
        "end": lambda: log.end(ev.Finished()),
    }
    threads = [threading.Thread(target=ask, args=item) for item in asked.items()]
    log.append("a")
    for thread in threads:
        thread.start()
    time.sleep(0.05)  # Until all are in one batch.
    wake_up()
    for thread in threads:
        thread.join(5)
    assert isinstance(answers["malformed"], UnicodeEncodeError)
    assert isinstance(answers["create"], UnicodeEncodeError)
    assert answers["end"] is True
    assert follow(there.open(log.run.id))[1:] == ["a", ev.Finished()]


# A file.


def test_a_file_is_readable_by_its_user_only(files: Stores, path: Path) -> None:
    path.touch(0o644)
    made(files.make()).append("a")
    wait_for(lambda: len(list(path.parent.iterdir())) == 3, "the files beside it")
    assert {stat.S_IMODE(it.stat().st_mode) for it in path.parent.iterdir()} == {0o600}


def foreign(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE user (id)")


def garbage(path: Path) -> None:
    path.write_bytes(b"garbage " * 1000)


def damaged(path: Path) -> None:
    with stores_over(lambda name, limits: SqliteEngine(str(path), name)) as stores:
        log = made(stores.make(name="one"))
        log.append("x" * MEGABYTE)
        log.end(ev.Finished())
    wait_for(lambda: len(list(path.parent.iterdir())) == 1, "the files beside it to be gone")
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"garbage " * 4096)


def earlier(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE run (id)")
        db.execute("PRAGMA user_version = 2")


def newer(path: Path) -> None:
    made_by(path, lambda db: db.execute(f"PRAGMA user_version = {tables.FORMAT + 1}"))


def lacking(path: Path) -> None:
    made_by(path, lambda db: db.execute("DROP TABLE journal"))


def made_by(path: Path, change: Callable[[sqlite3.Connection], object]) -> None:
    with sqlite3.connect(path) as db:
        tables.make(db)
        change(db)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (foreign, "made by another program"),
        (garbage, "not a database"),
        (damaged, "damaged|malformed"),
        (earlier, "before format 1"),
        (newer, "newer flask_aistream"),
        (lacking, r"lacks journal\.\w+ of format"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(
    path: Path, make: Callable[[Path], None], said: str
) -> None:
    make(path)
    with pytest.raises(StoreUnavailable) as refused:
        check_connection(f"sqlite:///{path}", Threads())
    assert "\n" not in refused.value.cause
    assert re.search(said, refused.value.cause)


def test_a_newer_version_may_add_columns_and_tables(path: Path, files: Stores) -> None:
    def upgrade(db: sqlite3.Connection) -> None:
        db.execute("ALTER TABLE run ADD COLUMN colour TEXT DEFAULT 'blue'")
        db.execute("CREATE TABLE more (id)")

    before = made(files.make(name="before"))
    made_by_newer = sqlite3.connect(path, timeout=10)
    with made_by_newer:
        upgrade(made_by_newer)
    made_by_newer.close()
    before.append("a")
    after = files.make(name="after")
    assert before.end(ev.Finished())
    assert follow(after.open(before.run.id))[1:] == ["a", ev.Finished()]
    assert made(after).end(ev.Finished())


# Redis.


def test_a_record_of_another_type_is_an_error_for_its_run_only(
    redis: Stores, server: RedisServer
) -> None:
    here, there = redis.make(name="here"), redis.make(name="there")
    ended, living = made(here), made(here)
    ended.end(ev.Finished())
    server.client.set(Keys("").meta(ended.run.id), "something else")
    for _ in range(3):
        with pytest.raises(RunUnreadable):
            there.open(ended.run.id)
    living.append("a")
    there.orphans()
    there.sweep()
    assert living.end(ev.Finished())
    assert follow(there.open(living.run.id))[1:] == ["a", ev.Finished()]


def test_a_field_of_a_newer_version_is_ignored(redis: Stores, server: RedisServer) -> None:
    here, there = redis.make(name="here"), redis.make(name="there")
    log = made(here)
    key = Keys("").meta(log.run.id)
    about = json.loads(t.cast(bytes, server.client.hget(key, "run")))
    server.client.hset(
        key, mapping={"run": json.dumps(about | {"colour": "blue"}), "shape": "round"}
    )
    assert there.open(log.run.id).run == log.run
    log.append("a")
    wait_for(lambda: t.cast(t.Any, log).tail == 1, "the record")
    assert there.open(log.run.id).end(ev.Stopped())
    assert follow(there.open(log.run.id))[1:] == ["a", ev.Stopped()]


NAMES = Keys("")

KEYS: dict[str, Callable[[str], str]] = {
    "meta": NAMES.meta,
    "log": NAMES.log,
    "processes": lambda _: NAMES.processes,
    "runs of the process": lambda _: NAMES.runs("here"),
    "idempotency key": lambda _: NAMES.alias("key", "k"),
    "chat": lambda _: NAMES.alias("chat", "c"),
    "owner": lambda _: NAMES.owner(str(run_of("chat", owner="ann").account)),
}


@pytest.mark.parametrize("lost", KEYS)
def test_the_heartbeat_writes_again_what_was_lost(
    lost: str, redis: Stores, server: RedisServer
) -> None:
    here, there = redis.make(name="here"), redis.make(name="there")
    log, _ = begin(t.cast(t.Any, here), key="k", chat="c", owner="ann")
    log.append("a")
    wait_for(lambda: t.cast(t.Any, log).tail == 1, "the record")
    key = KEYS[lost](log.run.id)
    server.client.delete(key)
    wait_for(lambda: server.client.exists(key), "the key")
    assert there.latest("c") == log.run.id
    with pytest.raises(TooManyRuns):
        begin(t.cast(t.Any, there), owner="ann", owner_limit=1)
    reader = there.open(log.run.id)
    redis.kill(here)
    server.client.delete(Keys("").beat("here"))

    def orphaned() -> bool:
        time.sleep(0.1)
        return bool(there.orphans())

    wait_for(orphaned, "its process to be found dead")
    assert reader.end(ev.Interrupted("owner-lost"), epoch=1)


def test_a_run_whose_process_the_server_has_forgotten_ends_once_it_is_read(
    redis: Stores, server: RedisServer
) -> None:
    here, there = redis.make(name="here"), redis.make(name="there")
    log = made(here)
    here.flush()  # With its first heartbeat, which enters the process.
    redis.kill(here)
    server.client.delete(NAMES.processes, NAMES.beat("here"))
    there.open(log.run.id)

    def orphaned() -> bool:
        time.sleep(0.1)
        return bool(there.orphans())

    wait_for(orphaned, "its process to be found dead")


@pytest.mark.parametrize(
    "key",
    [
        *(
            NAMES.processes,
            NAMES.outbox,
            NAMES.ended,
            NAMES.bytes,
            NAMES.runs("here"),
            NAMES.runs(""),
        ),
        *(KEYS[name]("") for name in ("owner", "chat", "idempotency key")),
        NAMES.alias("chat-runs", "c"),
    ],
)
def test_a_key_that_another_program_has_written_is_replaced(
    key: str, redis: Stores, server: RedisServer
) -> None:
    here, there = (redis.make(name=name, store_bytes=10**6) for name in ("here", "there"))
    before = made(here)
    server.client.delete(key)
    server.client.rpush(key, "one")
    queue(t.cast(t.Any, here))
    log, _ = begin(t.cast(t.Any, here), key="k", chat="c", owner="ann", owner_limit=1)
    log.append("a")
    for ended in (before, log):
        assert ended.end(ev.Finished(), claim=True)
    for store in (here, there):
        store.orphans()
        store.sweep()
    here.claim([])
    begin(t.cast(t.Any, here), owner="ann", owner_limit=1)
    assert follow(there.open(log.run.id))[1:] == ["a", ev.Finished()]
    assert (there.latest("c"), there.started("k") is None) == (log.run.id, False)


BUSY = """
from gevent import monkey
monkey.patch_all()
import sys, time
from flask_aistream.server.detect import concurrency
from flask_aistream.stores.limits import Limits
from flask_aistream.stores.urls import open_store
from tests.stores.contract import begin
store = open_store(sys.argv[1], concurrency(), "", patience=10, limits=Limits())
log, _ = begin(store)
time.sleep(1)
print(log.run.id, flush=True)
end = time.monotonic() + 5
while time.monotonic() < end:
    pass
log.append("alive")
store.flush()
print("done", flush=True)
time.sleep(60)
"""


@pytest.mark.nightly
def test_a_process_whose_hub_is_busy_is_alive_and_a_stopped_one_is_dead(
    redis: Stores, server: RedisServer
) -> None:
    there = redis.make(name="there")
    busy = subprocess.Popen(
        [sys.executable, "-c", BUSY, server.url], stdout=subprocess.PIPE, text=True
    )
    assert busy.stdout
    try:
        run_id = busy.stdout.readline().strip()
        computing_until = time.monotonic() + 4.5
        while time.monotonic() < computing_until:
            assert there.orphans() == []
            time.sleep(0.25)
        assert busy.stdout.readline() == "done\n"
        busy.send_signal(19)
        stopped_at = time.monotonic()
        while not (found := there.orphans()):
            time.sleep(0.25)
        assert time.monotonic() - stopped_at < 5
        assert [orphan.log.run.id for orphan in found] == [run_id]
    finally:
        busy.kill()
        busy.wait()
        busy.stdout.close()


# Memory.


def test_names_that_clients_choose_count_as_bytes_of_the_store() -> None:
    store = MemoryStore(Limits(store_bytes=2 * MEGABYTE))
    for _ in range(3):
        begin(store, chat="c" * MEGABYTE)[0].end(ev.Finished())
    store.sweep()
    assert len(store._logs) == 1
