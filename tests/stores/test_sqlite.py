from __future__ import annotations

import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_aistream.stores.engine import Engine
from flask_aistream.stores.sqlite import SqliteEngine
from flask_aistream.testing import ManualClock
from tests.stores.across import AcrossContract
from tests.stores.contract import StoreContract
from tests.stores.shared import PromptStore
from tests.stores.shared import Stores
from tests.stores.shared import stores_over


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    def engine(name: str = "one", **options: t.Any) -> Engine:
        return SqliteEngine(str(tmp_path / "runs.sqlite"), name, **options)

    with stores_over(engine) as stores:
        yield stores


class TestSqliteStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _stores(self, stores: Stores) -> None:
        self.stores = stores

    def make_store(self, clock: ManualClock, **bounds: t.Any) -> t.Any:
        return PromptStore(self.stores.make(clock=clock, **bounds))


class TestSqliteAcrossProcesses(AcrossContract):
    pass
