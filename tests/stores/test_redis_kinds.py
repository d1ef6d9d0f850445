"""Every way in which a Redis can be reached keeps the same promises."""

from __future__ import annotations

import shutil
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flask_aistream.core import events as ev
from tests.doubles import ManualClock
from tests.server.servers import wait_for
from tests.stores.across import AcrossContract
from tests.stores.across import made
from tests.stores.contract import StoreContract
from tests.stores.contract import begin
from tests.stores.contract import follow
from tests.stores.redis_server import Cluster
from tests.stores.redis_server import Pair
from tests.stores.redis_server import RedisServer
from tests.stores.redis_server import certificate
from tests.stores.shared import PromptStore
from tests.stores.shared import Stores
from tests.stores.shared import redis_stores

# A Sentinel that was kept waiting for two seconds does nothing for half a minute.
FAILOVER = 45.0


class Kind(t.Protocol):
    url: str

    def empty(self) -> None: ...
    def stop(self) -> None: ...


def a_user(folder: Path) -> Kind:
    rights = ["--user", "ann", "on", ">sesame", "~aistream:*", "&aistream:*", "+@all"]
    return RedisServer(folder, *rights, url="redis://ann:sesame@127.0.0.1:{port}/0")


def tls(folder: Path) -> Kind:
    options = list(certificate(folder))
    url = "rediss://127.0.0.1:{port}/0?ssl_ca_certs=" + str(folder / "cert.pem")
    return RedisServer(folder, *options, url=url)


def socket(folder: Path) -> Kind:
    path = str(folder / "redis.sock")
    return RedisServer(folder, "--port", "0", "--unixsocket", path, url=f"unix://{path}")


def valkey(folder: Path) -> Kind:
    if shutil.which("valkey-server") is None:
        pytest.skip("valkey-server is not installed; Debian has it from version 13 on")
    return RedisServer(folder, program="valkey-server")


SIMPLE: dict[str, Callable[[Path], Kind]] = {
    "password": lambda folder: RedisServer(folder, password="a:b@c/d%"),
    "user": a_user,
    "tls": tls,
    "socket": socket,
    "valkey": valkey,
    "cluster": Cluster,
}


@contextmanager
def stores_of(kind: Kind) -> Iterator[Stores]:
    kind.empty()
    with redis_stores(kind.url) as stores:
        yield stores


@pytest.mark.parametrize("kind", SIMPLE)
def test_a_run_is_written_here_and_read_there(kind: str, tmp_path: Path) -> None:
    server = SIMPLE[kind](tmp_path)
    try:
        with stores_of(server) as stores:
            here, there = stores.make(name="here"), stores.make(name="there")
            log, _ = begin(here, key="k", chat="talk", owner="ann")
            reader = there.open(log.run.id)
            for number in range(100):
                log.append(str(number))
            assert there.open(log.run.id).end(ev.Stopped())
            assert follow(reader)[-1] == ev.Stopped()
            assert there.latest("talk") == log.run.id
            begin(there, owner="ann", owner_limit=1)
    finally:
        server.stop()


@pytest.fixture(
    scope="module",
    params=[Cluster, Pair],
    ids=["cluster", "sentinel"],
)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kind]:
    """Each kind that answers in a way of its own."""
    server = request.param(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def stores(server: Kind) -> Iterator[Stores]:
    with stores_of(server) as stores:
        yield stores


def test_a_failover_in_mid_run_loses_nothing_not_even_what_the_replica_never_got(
    tmp_path: Path,
) -> None:
    pair = Pair(tmp_path)
    try:
        with stores_of(pair) as stores:
            here, there = (stores.make(name=it, patience=FAILOVER) for it in ("here", "there"))
            log = made(here)
            reader = there.open(log.run.id)
            log.append("replicated")
            wait_for(lambda: log.tail == 1, "the record")
            pair.part()
            log.append("acknowledged only")
            wait_for(lambda: log.tail == 2, "the record")
            pair.primary.kill()
            log.append("meanwhile")
            log.end(ev.Finished())
            assert pair.replica.client.role()[0] == b"master"
            wait_for(lambda: there.open(log.run.id).ended, "the end elsewhere")
            said = ["replicated", "acknowledged only", "meanwhile", ev.Finished()]
            assert follow(reader)[1:] == said
            assert follow(stores.make(name="third").open(log.run.id))[1:] == said
    finally:
        pair.stop()


@pytest.mark.nightly
class TestRedisOfSeveralServers(StoreContract):
    @pytest.fixture(autouse=True)
    def _stores(self, stores: Stores) -> None:
        self.stores = stores

    def make_store(self, clock: ManualClock, **limits: t.Any) -> t.Any:
        return PromptStore(self.stores.make(clock=clock, **limits))


@pytest.mark.nightly
class TestRedisOfSeveralServersAcrossProcesses(AcrossContract):
    pass
