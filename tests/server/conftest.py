from __future__ import annotations

import itertools
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.servers import COMMANDS
from tests.server.servers import Server
from tests.server.wire import OPEN
from tests.upstream import Upstream

Serve = Callable[..., Server]


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Serve]:
    """Start a server, or take the one already running with the same configuration."""
    running: dict[t.Any, Server] = {}
    folder: Path = tmp_path_factory.mktemp("facts")
    number = itertools.count()

    def start(kind: str, **config: t.Any) -> Server:
        key = (kind, *sorted(config.items()))
        if key not in running:
            facts = folder / f"{next(number)}.jsonl"
            running[key] = Server(kind, facts, UPSTREAM=upstream.url, **config)
            running[key].wait_ready()
        return running[key]

    yield start
    for server in running.values():
        server.hurry()  # All at once: each takes a second or two.
    for server in running.values():
        server.stop()


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().leave()


@pytest.fixture(params=COMMANDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of server in turn."""
    return t.cast(str, request.param)
