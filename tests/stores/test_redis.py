from __future__ import annotations

import typing as t
from collections.abc import Iterator

import pytest
import redis

from flask_aistream.core import events as ev
from flask_aistream.server.threads import Threads
from flask_aistream.stores.redis import RedisEngine
from flask_aistream.stores.redis.client import redis_client
from flask_aistream.stores.redis.keys import Keys
from flask_aistream.stores.redis.processes import WATCH_SECONDS
from tests.doubles import ManualClock
from tests.server.servers import wait_for
from tests.stores.across import AcrossContract
from tests.stores.across import made
from tests.stores.contract import MEGABYTE
from tests.stores.contract import StoreContract
from tests.stores.contract import follow
from tests.stores.redis_server import RedisServer
from tests.stores.shared import PromptStore
from tests.stores.shared import Stores
from tests.stores.shared import redis_stores


@pytest.fixture
def stores(redis_server: RedisServer) -> Iterator[Stores]:
    redis_server.empty()
    with redis_stores(redis_server.url) as stores:
        yield stores


class TestRedisStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _stores(self, stores: Stores) -> None:
        self.stores = stores

    def make_store(self, clock: ManualClock, **limits: t.Any) -> t.Any:
        return PromptStore(self.stores.make(clock=clock, **limits))


class TestRedisAcrossProcesses(AcrossContract):
    pass


def test_the_owner_restores_what_a_failover_has_lost(
    stores: Stores, redis_server: RedisServer
) -> None:
    here, there = stores.make(name="here"), stores.make(name="there")
    log = made(here)
    for number in range(10):
        log.append(str(number))
        here.flush()  # A round, and so an entry, of its own.
    reader = there.open(log.run.id)
    key = Keys("").log(log.run.id)
    lost = [entry for entry, _ in redis_server.client.xrange(key)][6:]
    redis_server.client.xdel(key, *lost)
    log.append("after")
    log.end(ev.Finished())
    said = [*map(str, range(10)), "after", ev.Finished()]
    assert follow(reader)[1:] == said
    assert follow(stores.make(name="third").open(log.run.id))[1:] == said


def test_an_end_too_notices_what_was_lost(stores: Stores, redis_server: RedisServer) -> None:
    log = made(stores.make(name="here"))
    log.append("a")
    wait_for(lambda: log.tail == 1, "the record")
    redis_server.client.flushall()
    assert log.end(ev.Finished())
    other = stores.make(name="there").open(log.run.id)
    assert follow(other)[1:] == ["a", ev.Finished()]


def test_a_heartbeat_that_vanishes_for_a_moment_is_no_death(
    stores: Stores, redis_server: RedisServer
) -> None:
    made(stores.make(name="here"))
    there = stores.make(name="there")
    for _ in range(3):
        # As when the server has stood still, or its clock was put forward.
        redis_server.client.delete(Keys("").beat("here"))
        assert there.orphans() == []


def test_nor_where_it_was_missing_because_there_was_nothing_to_do(
    stores: Stores, redis_server: RedisServer, clock: ManualClock
) -> None:
    here, there = stores.make(name="here"), stores.make(name="there")
    t.cast(t.Any, there.writer._engine)._processes._ticks = clock
    log = made(here)
    log.end(ev.Finished())
    redis_server.client.delete(Keys("").beat("here"))
    for _ in range(2):
        assert there.orphans() == []
        clock.advance(WATCH_SECONDS / 2)
    made(here)
    redis_server.client.delete(Keys("").beat("here"))
    assert there.orphans() == []


@pytest.mark.parametrize("version", ["5.0.14", "6.0.20"])
def test_a_server_that_is_too_old_is_refused(redis_server: RedisServer, version: str) -> None:
    def connect() -> t.Any:
        client = redis_client(redis_server.url)
        client.info = lambda section: {"redis_version": version}
        return client

    engine = RedisEngine(connect, "one", Threads())
    with pytest.raises(redis.RedisError, match=f"^it is Redis {version}, .* 6.2$"):
        engine.open(t.cast(t.Any, None))
    engine.close()


def test_a_user_who_may_not_ask_for_the_version_is_served(redis_server: RedisServer) -> None:
    redis_server.client.acl_setuser(
        "bob", True, True, keys="*", channels="*", commands=["+@all", "-info"]
    )
    url = redis_server.url.replace("redis://", "redis://bob:@")
    engine = RedisEngine(lambda: redis_client(url), "one", Threads())
    engine.open(None)
    engine.close()


def test_who_had_nothing_to_do_for_long_is_not_dead_when_it_begins_something(
    stores: Stores, redis_server: RedisServer
) -> None:
    here, there = stores.make(name="here"), stores.make(name="there")
    engine = t.cast(t.Any, there.writer._engine)
    engine._processes._find_dead = lambda: ["here"]  # As it was a moment ago.
    log = made(here)
    assert there.orphans() == []
    log.end(ev.Finished(), claim=True)
    assert there.claim([]) == []
    assert there.orphans() == []
    assert [row.attempt for row in here.claim([])] == [1]
    other = made(stores.make(name="third"))
    other.end(ev.Finished())
    redis_server.client.delete(Keys("").beat("here"))
    assert [row.attempt for row in here.claim([log.run.id])] == [1]
    assert there.claim([]) == []


def test_a_service_without_runs_asks_little(
    stores: Stores, redis_server: RedisServer, clock: ManualClock
) -> None:
    there = stores.make(name="there")
    t.cast(t.Any, there.writer._engine)._processes._ticks = clock

    def commands() -> int:
        stats = redis_server.client.info("commandstats")
        return sum(it["calls"] for name, it in stats.items() if name != "cmdstat_info")

    there.orphans()
    before = commands()
    for _ in range(8):
        clock.advance(0.5)
        there.orphans()
    assert commands() - before < 12
    here = stores.make(name="here")
    log = made(here)
    stores.kill(here)
    found = []
    for _ in range(8):
        clock.advance(0.5)
        redis_server.client.delete(Keys("").beat("here"))
        found += there.orphans()
    assert log.run.id in [orphan.log.run.id for orphan in found]


def test_the_sizes_of_what_is_gone_are_gone(stores: Stores, redis_server: RedisServer) -> None:
    store = stores.make(store_bytes=MEGABYTE, max_runs=1)
    logs = [made(store) for _ in range(3)]
    store.sweep()
    assert redis_server.client.hkeys(Keys("").bytes) == [b"@one"]
    for log in logs:
        log.end(ev.Finished())
    store.sweep()
    assert redis_server.client.hkeys(Keys("").bytes) == [logs[-1].run.id.encode()]
