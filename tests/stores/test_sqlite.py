from __future__ import annotations

import sqlite3
import typing as t
from pathlib import Path

import pytest

from flask_aistream.core import events as ev
from tests.doubles import ManualClock
from tests.stores.across import AcrossContract
from tests.stores.across import made
from tests.stores.contract import MEGABYTE
from tests.stores.contract import StoreContract
from tests.stores.contract import say
from tests.stores.shared import PromptStore
from tests.stores.shared import Stores


@pytest.fixture
def stores(files: Stores) -> Stores:
    return files


class TestSqliteStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _stores(self, stores: Stores) -> None:
        self.stores = stores

    def make_store(self, clock: ManualClock, **limits: t.Any) -> t.Any:
        return PromptStore(self.stores.make(clock=clock, **limits))


class TestSqliteAcrossProcesses(AcrossContract):
    pass


@pytest.mark.nightly
def test_a_file_whose_runs_were_forgotten_becomes_short_again(
    stores: Stores, tmp_path: Path
) -> None:
    clock = ManualClock()
    store = stores.make(clock=clock, retain=60)
    log = made(store)
    say(log, 20)
    log.end(ev.Finished())
    store.sweep()
    grown = size(tmp_path)
    clock.advance(61)
    for _ in range(5):
        store.sweep()
    assert size(tmp_path) < grown / 4


def test_the_file_stays_within_its_bound_while_runs_come_and_go(
    stores: Stores, tmp_path: Path
) -> None:
    store = stores.make(store_bytes=4 * MEGABYTE)
    long = made(store)  # While it lives, the journal keeps what all others say.
    for _ in range(40):
        log = made(store)
        say(log, 0.5)
        log.end(ev.Finished())
        long.append("x")
        store.sweep()
        assert size(tmp_path) < 8 * MEGABYTE
    assert list(stores.make(name="there").open(long.run.id).read(0).events) == ["x"] * 40


def test_the_file_beside_it_stays_small_though_others_read(stores: Stores, tmp_path: Path) -> None:
    here, there = stores.make(name="here"), stores.make(name="there")
    log = made(here)
    reader = there.open(log.run.id)
    reader.notify(0, lambda: None)
    for _ in range(30):
        say(log, 1)
        here.flush()
    assert size(tmp_path, "runs.sqlite-wal") < 12 * MEGABYTE


def test_records_beyond_the_limit_are_dropped_once_they_are_durable(stores: Stores) -> None:
    store = stores.make(log_bytes=10_000)
    log = made(store)
    log.hand_over()  # As in a round that is still going on, while the provider appends more.
    for number in range(1000):
        log.append(f"{number:<100}")
    log.acknowledge()
    log.publish()
    store.flush()
    assert len(log.read(-1).events) < 130


def size(folder: Path, name: str = "runs.sqlite") -> int:
    with sqlite3.connect(folder / "runs.sqlite") as db:
        db.execute("PRAGMA wal_checkpoint(PASSIVE)")
    db.close()
    return (folder / name).stat().st_size
