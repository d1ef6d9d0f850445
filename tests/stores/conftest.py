from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stores.redis_server import RedisServer
from tests.stores.shared import Stores
from tests.stores.shared import sqlite_stores


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of ``files``."""
    return tmp_path / "runs.sqlite"


@pytest.fixture
def files(path: Path) -> Iterator[Stores]:
    """Stores over one SQLite file."""
    with sqlite_stores(path) as stores:
        yield stores
