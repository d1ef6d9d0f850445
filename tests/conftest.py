"""The few fixtures that many tests share."""

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

what_was_left_open_is_dropped_here = left_open.what_was_left_open_is_dropped_here

if t.TYPE_CHECKING:
    from selenium.webdriver import Chrome

    from tests.stores.redis_server import RedisServer

# A failing example prints the line that repeats it. In CI the seed is fixed, elsewhere it wanders.
settings.register_profile("ci", derandomize=True, print_blob=True, deadline=None)
settings.register_profile("default", print_blob=True, deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "default")

SLOWEST = ("workers", "faults", "server", "stores", "clients", "browser", "example")
"""Folders that take minutes rather than seconds: for one that is begun last, the others would have to wait
at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {folder: number for number, folder in enumerate(SLOWEST)}
    left_open.may_be_left(items)
    items.sort(key=lambda item: order.get(folder_of(item.nodeid), len(order)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: t.Any) -> t.Any:
    """``--dist loadscope`` gives a process a folder at a time.

    The tests of a folder share servers, and those that judge time are not disturbed by others like them.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Folders(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return folder_of(nodeid)

    return Folders(config, log) if config.getoption("dist") == "loadscope" else None


def folder_of(nodeid: str) -> str:
    """``workers`` for ``tests/workers/test_drain.py::test_…``."""
    return nodeid.partition("::")[0].split("/")[1]


def pytest_collection_finish() -> None:
    # Tests that collect garbage need not look through a hundred megabytes of SDKs and tests each time.
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
    """A local model vendor; ask it for ``exchanges`` by model and number."""
    with Upstream() as server:
        yield server


@pytest.fixture
def start_redis(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Start a server, with options as on its command line, that the test may stop and start."""
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
    app.config["AISTREAM_COMMIT_SECONDS"] = 10.0  # A busy machine is no slow model.
    app.register_blueprint(ai, url_prefix="/ai")
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()
