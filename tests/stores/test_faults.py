"""A store that goes away, fills up, or forgets, while runs are going on: nothing hangs, and what the
store outlives is not lost."""

from __future__ import annotations

import resource
import sqlite3
import threading
import time
import typing as t
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import redis

from flask_aistream.core import events as ev
from flask_aistream.errors import StoreUnavailable
from flask_aistream.server.threads import Threads
from flask_aistream.stores.redis import RedisEngine
from flask_aistream.stores.redis import subscriber
from flask_aistream.stores.redis.client import redis_client
from flask_aistream.stores.shared.store import SharedStore
from tests.doubles import ManualClock
from tests.network import Proxy
from tests.server.servers import wait_for
from tests.stores import shared
from tests.stores.across import made
from tests.stores.across import sleep
from tests.stores.contract import MEGABYTE
from tests.stores.contract import begin
from tests.stores.contract import follow
from tests.stores.contract import is_there
from tests.stores.contract import run_of
from tests.stores.contract import say
from tests.stores.redis_server import RedisServer
from tests.stores.shared import Stores
from tests.stores.shared import redis_stores

StartRedis = Callable[..., RedisServer]

PATIENCE = 1.0
SPARE = 4.0
"""On a slow machine: an answer that should come within the patience comes within this much more."""


def survives(stores: Stores, harm: Callable[[], None]) -> None:
    """A run that is written here, and read here and there, is whole though harm is done in between."""
    here, there = stores.make(name="here"), stores.make(name="there")
    log = made(here)
    reader = there.open(log.run.id)
    woken = threading.Event()
    reader.notify(0, woken.set)
    log.append("before")
    assert woken.wait(SPARE)
    harm()
    log.append("after")
    wait_for(lambda: log.tail == 2, "the record")
    wait_for(lambda: reader.tail == 2, "the record elsewhere")
    assert log.end(ev.Finished())
    said = ["before", "after", ev.Finished()]
    assert follow(reader)[1:] == follow(log)[1:] == said
    assert follow(stores.make(name="third").open(log.run.id))[1:] == said


def fails_and_recovers(
    stores: Stores, break_it: Callable[[], None], mend_it: Callable[[], None]
) -> None:
    """While the store does not come back, runs are lost and starts refused, in time; then all is well."""
    store = stores.make(name="here", patience=PATIENCE)
    log = made(store)
    log.append("before")
    wait_for(lambda: log.tail == 1, "the record")
    lost = threading.Event()
    log.on_lost(lost.set)
    break_it()
    began = time.monotonic()
    log.append("x" * MEGABYTE)
    assert lost.wait(PATIENCE + SPARE)
    assert log.end(ev.Failed("store_unavailable", "Gone.", 503))
    assert log.read(-1).ended
    with pytest.raises(StoreUnavailable):
        begin(t.cast(t.Any, store))
    assert time.monotonic() - began < PATIENCE + SPARE
    mend_it()
    wait_for(lambda: starts(store), "a start")


def starts(store: SharedStore) -> bool:
    try:
        return made(store).end(ev.Finished())
    except StoreUnavailable:
        return False


def is_disconnected_from_a_dropped_run(
    stores: Stores, cut_off: Callable[[SharedStore], Callable[[], None]]
) -> None:
    """A reader that is cut off from another process's run until the run is dropped is disconnected.

    :param cut_off: Returns how to come back.
    """
    clock = ManualClock()
    here, there = (stores.make(name=name, clock=clock, retain=60) for name in ("here", "there"))
    log = made(here)
    reader, woken = there.open(log.run.id), threading.Event()
    reader.notify(0, woken.set)
    log.append("received")
    assert woken.wait(SPARE)
    log.append("received as a notification")
    wait_for(lambda: reader.tail == 2, "it")
    there.flush()  # It has looked at whatever it was to look at.
    come_back = cut_off(there)
    log.append("not received")
    log.end(ev.Finished())
    clock.advance(70)
    here.sweep()
    come_back()
    there.sweep()
    # It might be that the store has lost it, and its owner is about to restore it.
    woken.clear()
    reader.notify(2, woken.set)
    clock.advance(shared.PATIENCE)
    there.sweep()
    assert woken.is_set()
    with pytest.raises(StoreUnavailable):
        reader.notify(2, woken.set)


# Redis.


@pytest.mark.parametrize("options", [(), ("--appendonly", "yes")], ids=["empty", "with its log"])
def test_a_redis_that_was_restarted_in_time_costs_nothing(
    start_redis: StartRedis, options: tuple[str, ...]
) -> None:
    server = start_redis(*options)

    def restart() -> None:
        server.kill()
        time.sleep(0.5)
        server.start()

    with redis_stores(server.url) as stores:
        survives(stores, restart)


def test_a_redis_that_is_unavailable_for_too_long_fails_its_runs(start_redis: StartRedis) -> None:
    server = start_redis()
    with redis_stores(server.url) as stores:
        fails_and_recovers(stores, server.kill, server.start)


@pytest.mark.parametrize("call", ["create", "adopt"])
def test_a_run_whose_creation_was_not_acknowledged_is_released(
    start_redis: StartRedis, call: str
) -> None:
    with redis_stores(start_redis().url) as stores:
        here, there = stores.make(name="here", patience=0.1), stores.make(name="there")
        run = run_of("chat")
        if call == "adopt":
            log, _ = there.create(run, ["a"])
            assert log.release()
        engine: t.Any = here.writer._engine
        name = "create" if call == "create" else "assign"
        do = getattr(engine, name)

        def lose_the_answer(*args: t.Any, **options: t.Any) -> t.NoReturn:
            do(*args, **options)
            raise ConnectionError

        setattr(engine, name, lose_the_answer)
        with pytest.raises(StoreUnavailable):
            here.create(run, ["a"]) if call == "create" else here.adopt(run.id, 1)
        setattr(engine, name, do)
        wait_for(lambda: starts(here), "the store")
        assert [orphan.log.run.id for orphan in there.orphans()] == [run.id]


def test_an_end_whose_answer_was_lost_is_in_the_outbox(start_redis: StartRedis) -> None:
    with redis_stores(start_redis().url) as stores:
        here, there = stores.make(name="here", patience=0.1), stores.make(name="there")
        log = made(there)
        elsewhere = here.open(log.run.id)
        retention = t.cast(t.Any, here.writer._engine).retention
        add = retention.add

        def fail(*args: t.Any) -> t.NoReturn:
            raise ConnectionError

        retention.add = fail  # The run has ended, and the connection is gone.
        with pytest.raises(StoreUnavailable):
            elsewhere.end(ev.Stopped(), claim=True)
        retention.add = add
        wait_for(lambda: starts(here), "the store")
        assert [here.orphans(), there.orphans()] == [[], []]
        assert log.run.id not in [it.run for it in there.claim([])]
        assert log.run.id in [it.run for it in here.claim([])]


def test_a_reader_recovers_a_lost_pub_sub_notification(start_redis: StartRedis) -> None:
    server = start_redis()

    def part(_: SharedStore) -> Callable[[], None]:
        server.client.acl_setuser("default", enabled=True, commands=["-subscribe"])
        server.client.client_kill_filter(_type="pubsub")
        return lambda: server.client.acl_setuser("default", enabled=True, commands=["+subscribe"])

    with redis_stores(server.url) as stores:
        is_disconnected_from_a_dropped_run(stores, part)


def test_a_connection_that_the_network_drops_silently_is_replaced(
    start_redis: StartRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriber, "LISTEN_SECONDS", 0.2)
    server = start_redis()
    network = Proxy(server.port)
    monkeypatch.setattr(server, "url", f"redis://127.0.0.1:{network.port}/0")
    with closing(network), redis_stores(server.url) as stores:
        here, there = stores.make(name="here"), stores.make(name="there")
        log = made(here)
        reader = there.open(log.run.id)
        reader.notify(0, lambda: None)
        log.append("received")
        wait_for(lambda: reader.tail == 1, "news")
        for client in server.client.client_list(_type="pubsub"):
            network.swallow(int(client["addr"].rpartition(":")[2]))
        log.append("received later")
        wait_for(lambda: reader.tail == 2, "news on another connection")


def test_a_redis_that_hangs_fails_its_runs(start_redis: StartRedis) -> None:
    server = start_redis()
    with redis_stores(server.url) as stores:
        fails_and_recovers(stores, server.freeze, server.thaw)


def test_a_redis_without_memory_fails_its_runs(start_redis: StartRedis) -> None:
    server = start_redis()

    def fill() -> None:
        server.client.config_set("maxmemory", server.client.info("memory")["used_memory"])

    def free() -> None:
        server.client.config_set("maxmemory", 0)

    with redis_stores(server.url) as stores:
        fails_and_recovers(stores, fill, free)


def test_a_redis_without_memory_drops_ended_runs_first(
    start_redis: StartRedis,
) -> None:
    server = start_redis()
    with redis_stores(server.url) as stores:
        store = stores.make()
        finished = [made(store) for _ in range(8)]
        for log in finished:
            say(t.cast(t.Any, log), 1)
            log.end(ev.Finished())
        living = made(store)
        server.client.config_set("maxmemory", server.client.info("memory")["used_memory"])
        say(t.cast(t.Any, living), 2)
        assert living.end(ev.Finished())
        assert not is_there(t.cast(t.Any, store), t.cast(t.Any, finished[0]))
        assert len(follow(stores.make(name="there").open(living.run.id))) == 2002


def test_what_is_saved_once_there_is_memory_again_is_not_forgotten(
    start_redis: StartRedis,
) -> None:
    server = start_redis()
    engine = RedisEngine(lambda: redis_client(server.url), "one", Threads())
    with redis_stores(server.url) as stores, closing(engine):
        engine.open(None)
        server.client.config_set("maxmemory", 1)
        with pytest.raises(redis.RedisError), engine.transaction():
            engine.heartbeat(())
        server.client.config_set("maxmemory", 0)
        store = stores.make(name="there")
        finished = made(store)
        finished.end(ev.Finished())
        engine.open(None)
        assert is_there(t.cast(t.Any, store), t.cast(t.Any, finished))


def test_a_redis_that_evicts_takes_no_living_run(start_redis: StartRedis) -> None:
    server = start_redis("--maxmemory-policy", "allkeys-lru")
    with redis_stores(server.url) as stores:
        store = stores.make()
        living = made(store)
        server.client.config_set(
            "maxmemory", server.client.info("memory")["used_memory"] + 4 * MEGABYTE
        )
        for _ in range(10):
            log = made(store)
            say(t.cast(t.Any, log), 1)
            log.end(ev.Finished())
            living.append("x")
        assert living.end(ev.Finished())
        assert follow(stores.make(name="there").open(living.run.id))[1:-1] == ["x"] * 10


# SQLite.


def test_a_file_that_is_locked_for_a_while_costs_nothing(files: Stores, path: Path) -> None:
    with closing(Other(path)) as other:

        def lock_a_while() -> None:
            other.lock()
            time.sleep(2)
            other.unlock()

        survives(files, lock_a_while)


def test_a_file_that_is_locked_for_too_long_fails_its_runs(files: Stores, path: Path) -> None:
    with closing(Other(path)) as other:
        fails_and_recovers(files, other.lock, other.unlock)


def test_a_reader_whose_process_slept_is_disconnected(files: Stores) -> None:
    is_disconnected_from_a_dropped_run(files, sleep)


def test_a_reader_that_begins_while_a_file_is_replaced_reads_on(files: Stores, path: Path) -> None:
    here, there = files.make(name="here"), files.make(name="there")
    log = made(here)
    reader = there.open(log.run.id)
    wake_up = sleep(here)
    for it in path.parent.glob(f"{path.name}*"):
        it.unlink()
    there.orphans()  # Which finds the file gone.
    woken = threading.Event()
    reader.notify(0, lambda: None)
    there.flush()
    reader.notify(0, woken.set)
    wake_up()
    log.append("after")
    assert woken.wait(SPARE)
    assert reader.read(0).events == ["after"]


def test_a_full_disk_fails_its_runs(files: Stores, path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill() -> None:
        size = max(it.stat().st_size for it in path.parent.iterdir())
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

    def free() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    try:
        fails_and_recovers(files, fill, free)
    finally:
        free()


def test_a_file_that_is_deleted_is_restored_with_all_living_runs(files: Stores, path: Path) -> None:
    def delete() -> None:
        for it in path.parent.glob(f"{path.name}*"):
            it.unlink()
        wait_for(path.exists, "the file")

    survives(files, delete)


def test_a_run_ends_though_its_file_was_deleted_a_moment_before(files: Stores, path: Path) -> None:
    log = made(files.make(name="here"))
    log.append("a")
    wait_for(lambda: log.tail == 1, "the record")
    for it in path.parent.glob(f"{path.name}*"):
        it.unlink()
    # In the very round in which the file is found to be gone: the run has not been restored yet.
    log._writer.submit(lambda engine: t.cast(t.Any, engine).heartbeat(()))
    assert log.end(ev.Finished(), epoch=1)
    assert follow(files.make(name="there").open(log.run.id))[1:] == ["a", ev.Finished()]


def test_a_file_that_another_program_overwrites_fails_its_runs(files: Stores, path: Path) -> None:
    def spoil() -> None:
        for it in path.parent.glob(f"{path.name}*"):
            it.unlink()
        path.write_text("not a database " * 100)

    fails_and_recovers(files, spoil, path.unlink)


class Other:
    """Another program that has the file open."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, timeout=10)

    def lock(self) -> None:
        self._db.execute("BEGIN EXCLUSIVE")

    def unlock(self) -> None:
        self._db.execute("ROLLBACK")

    def close(self) -> None:
        self._db.close()
