from __future__ import annotations

import itertools
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stores.redis_server import RedisServer
from tests.workers.workers import Line
from tests.workers.workers import Workers

Serve = Callable[..., Workers]
Connect = Callable[[Workers, int], Line]


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest) -> str:
    """Each kind of shared store in turn."""
    return t.cast(str, request.param)


@pytest.fixture(scope="session")
def serve(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Serve]:
    """Start a server, or take the one already running with the same configuration.

    :param store: Kind of its store, which it shares with no other server: that would look after its
        dead workers' runs too.
    :param fresh: Nobody else is to use it: the test ends it, or harms it.
    """
    running: dict[t.Any, Workers] = {}
    folder: Path = tmp_path_factory.mktemp("workers")
    number = itertools.count()

    def url_of(store: str, own: int) -> str:
        if store == "sqlite":
            return f"sqlite:///{folder}/{own}.sqlite"
        server: RedisServer = request.getfixturevalue("redis_server")
        return f"{server.url.removesuffix('/0')}/{own}"

    def start(
        kind: str, count: int, store: str | None = None, *, fresh: bool = False, **config: t.Any
    ) -> Workers:
        key = (kind, count, store, *sorted(config.items()), len(running) if fresh else None)
        if key not in running:
            own = next(number)
            config.setdefault("APP_AISTREAM_DRAIN_SECONDS", 0.2)
            if store is not None:
                config["APP_AISTREAM_STORE"] = url_of(store, own)
            running[key] = Workers(kind, count, folder / f"{own}.jsonl", **config)
            running[key].wait_ready()
        return running[key]

    yield start
    for server in running.values():  # All at once: leaving takes a while.
        server.hurry()
    for server in running.values():
        server.stop()


@pytest.fixture
def connect() -> Iterator[Connect]:
    """A connection to one worker, closed after the test."""
    lines: list[Line] = []

    def connect(server: Workers, pid: int) -> Line:
        lines.append(server.line(pid))
        return lines[-1]

    yield connect
    for line in lines:
        line.close()
