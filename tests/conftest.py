"""Shared fixtures, and the order in which test processes take the folders."""

from __future__ import annotations

import gc
import os
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import settings

from flask_aistream import AIStream
from flask_aistream.stores.memory import MemoryStore
from tests import left_open
from tests.doubles import ManualClock
from tests.upstream import Upstream

drop_left_open = left_open.drop_left_open

if t.TYPE_CHECKING:
    from selenium.webdriver import Chrome

    from tests.stores.redis_server import RedisServer

# A failing example prints the line that reproduces it. Only CI uses a fixed seed.
settings.register_profile("ci", derandomize=True, print_blob=True, deadline=None)
settings.register_profile("default", print_blob=True, deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "default")

SLOWEST = (
    *("browser", "workers", "example", "faults", "clients", "providers", "simulation"),
    *("playground", "doctor", "server", "stores", "security", "web"),
)
"""Folders that start first, so that no process runs alone at the end: those that stay in one process, and slow ones."""
SPLIT = {"workers", "server", "stores", "security"}
"""Folders whose files go to different processes. The other folders stay in one process each."""


def pytest_report_header(config: pytest.Config) -> str | None:
    if config.option.markexpr == "not nightly":
        return "left out: tests marked nightly (`make nightly` runs them)"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {folder: number for number, folder in enumerate(SLOWEST)}
    left_open.allow_left_open(items)
    items.sort(key=lambda item: order.get(folder_of(item.nodeid), len(order)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: t.Any) -> t.Any:
    """``--dist loadscope`` assigns whole folders, or files of the folders in ``SPLIT``, to a process.

    The tests of a scope share servers.
    """
    from xdist.scheduler import LoadScopeScheduling

    class FolderScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope_of(nodeid)

    return FolderScheduling(config, log) if config.getoption("dist") == "loadscope" else None


def scope_of(nodeid: str) -> str:
    folder = folder_of(nodeid)
    return nodeid.partition("::")[0] if folder in SPLIT else folder


def folder_of(nodeid: str) -> str:
    """``workers`` for ``tests/workers/test_drain.py::test_…``."""
    return nodeid.partition("::")[0].split("/")[1]


def pytest_collection_finish() -> None:
    # Keeps the objects of SDKs and test modules, 100 MB, out of the collections that tests run.
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def browser() -> Iterator[Chrome]:
    from tests.chromium import start_chromium

    driver = start_chromium()
    yield driver
    driver.quit()


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    """A local model server; its ``exchanges`` are looked up by model and number."""
    with Upstream() as server:
        yield server


@pytest.fixture
def start_redis(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Start a Redis server with command-line options; the test may stop and start it."""
    from tests.stores.redis_server import RedisServer

    servers: list[RedisServer] = []

    def start(*options: str) -> RedisServer:
        servers.append(RedisServer(tmp_path, *options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> MemoryStore:
    return MemoryStore(clock=clock)


@pytest.fixture
def ai() -> AIStream:
    """A blueprint, registered in ``app`` under ``/ai``."""
    return AIStream()


@pytest.fixture
def app(ai: AIStream) -> Flask:
    app = Flask("tests")
    app.testing = True
    app.config["PROPAGATE_EXCEPTIONS"] = False  # As in production.
    app.config["AISTREAM_COMMIT_SECONDS"] = 10.0  # On a busy machine a fast provider may be late.
    app.register_blueprint(ai, url_prefix="/ai")
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()
