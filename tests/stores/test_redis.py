from __future__ import annotations

import typing as t
from collections.abc import Iterator

import pytest

from flask_aistream.server.threads import Threads
from flask_aistream.stores.door import redis_client
from flask_aistream.stores.engine import Engine
from flask_aistream.stores.redis import RedisEngine
from flask_aistream.testing import ManualClock
from tests.stores.across import AcrossContract
from tests.stores.contract import StoreContract
from tests.stores.redis_server import RedisServer
from tests.stores.shared import PromptStore
from tests.stores.shared import Stores
from tests.stores.shared import stores_over


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def stores(redis_server: RedisServer) -> Iterator[Stores]:
    redis_server.client.flushall()

    def engine(name: str = "one", **options: t.Any) -> Engine:
        return RedisEngine(lambda: redis_client(redis_server.url), name, Threads(), **options)

    with stores_over(engine) as stores:
        yield stores


class TestRedisStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _stores(self, stores: Stores) -> None:
        self.stores = stores

    def make_store(self, clock: ManualClock, **bounds: t.Any) -> t.Any:
        return PromptStore(self.stores.make(clock=clock, **bounds))


class TestRedisAcrossProcesses(AcrossContract):
    pass
