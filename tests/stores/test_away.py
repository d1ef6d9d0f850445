"""A store that is away for longer than a process waits for it, and comes back."""

from __future__ import annotations

import sqlite3
import threading
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_aistream.core import events as ev
from flask_aistream.errors import CursorInvalid
from flask_aistream.errors import StoreUnavailable
from flask_aistream.stores.shared.replica import ReplicaLog
from flask_aistream.stores.shared.store import SharedStore
from flask_aistream.stores.sqlite import SqliteEngine
from tests.server.servers import wait_for
from tests.stores.across import made
from tests.stores.contract import follow
from tests.stores.shared import Stores
from tests.stores.shared import stores_over

GONE = ev.Failed("store_unavailable", "Gone.", 503)


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    def engine(name: str, **options: t.Any) -> SqliteEngine:
        return SqliteEngine(str(tmp_path / "runs.sqlite"), name)

    with stores_over(engine) as stores:
        yield stores


class Away:
    """One process cannot reach the store any more, until ``over`` is called."""

    def __init__(self, store: SharedStore) -> None:
        self._engine = t.cast(t.Any, store.writer._engine)
        self._engine.transaction = self._fail

    def over(self) -> None:
        del self._engine.transaction

    def _fail(self) -> t.NoReturn:
        raise sqlite3.OperationalError("gone")


def lose(stores: Stores) -> tuple[ReplicaLog, Away]:
    """A run whose process has given up waiting for the store."""
    here = stores.make(name="here", patience=0.1)
    log = made(here)
    log.append("a")
    wait_for(lambda: log.tail == 1, "the record")
    lost = threading.Event()
    log.on_lost(lost.set)
    away = Away(here)
    log.append("b")
    assert lost.wait(5)
    return log, away


def test_a_cursor_ahead_of_an_unacknowledged_record_is_valid(
    stores: Stores,
) -> None:
    here = stores.make(name="here")
    log = made(here)
    away = Away(here)
    log.append("a")
    # The store has the record and has published it. A reader of another process has got it and reconnects here,
    # before the acknowledgement arrives.
    page = log.read(1)
    assert (page.events, page.last, page.ended) == ([], 1, False)
    with pytest.raises(CursorInvalid):
        log.read(2)
    away.over()
    log.append("b")
    log.end(ev.Finished())
    assert log.read(1).events == ["b", ev.Finished()]


def claimed(log: ReplicaLog) -> list[str]:
    """Ids of the runs whose end its process has to deliver, once the store is back."""
    store = t.cast(SharedStore, log._registry)
    wait_for(lambda: reached(store, log.run.id), "the store")
    return [it.run for it in store.claim([])]


def test_an_end_without_the_store_is_in_the_outbox_once_it_is_back(stores: Stores) -> None:
    log, away = lose(stores)
    there = stores.make(name="there")
    assert log.end(GONE, epoch=1, claim=True)
    assert follow(log)[1:] == ["a", "b", GONE]
    away.over()
    assert claimed(log) == [log.run.id]
    assert follow(there.open(log.run.id))[1:] == ["a", "b", GONE]
    assert (there.orphans(), there.claim([])) == ([], [])


def test_an_end_after_that_of_another_process_is_not_in_the_outbox(stores: Stores) -> None:
    log, away = lose(stores)
    there = stores.make(name="there")
    assert there.open(log.run.id).end(ev.Interrupted("owner-lost"), claim=True)
    assert log.end(GONE, epoch=1, claim=True)
    away.over()
    assert claimed(log) == []
    assert [it.run for it in there.claim([])] == [log.run.id]


def test_a_run_that_went_on_elsewhere_is_not_ended_by_its_former_owner(stores: Stores) -> None:
    log, away = lose(stores)
    heir = stores.make(name="there").adopt(log.run.id, 1)
    assert heir is not None
    assert log.end(GONE, epoch=1, claim=True)
    away.over()
    heir.append("c")
    heir.end(ev.Finished(), claim=True)
    assert claimed(log) == []
    assert follow(heir)[1:] == ["a", "c", ev.Finished()]


def test_readers_in_another_process_are_disconnected_and_may_reconnect(stores: Stores) -> None:
    log = made(stores.make(name="there"))
    here = stores.make(name="here", patience=0.1)
    mirror, woken = here.open(log.run.id), threading.Event()
    mirror.notify(mirror.tail, woken.set)
    away = Away(here)
    assert woken.wait(5)
    assert mirror.read(mirror.tail).events == []
    with pytest.raises(StoreUnavailable):
        mirror.notify(mirror.tail, woken.set)
    log.append("a")
    log.end(ev.Finished())
    away.over()
    wait_for(lambda: reached(here, log.run.id), "the store")
    assert follow(here.open(log.run.id))[1:] == ["a", ev.Finished()]


def reached(store: SharedStore, run_id: str) -> bool:
    try:
        return store.open(run_id).ended
    except StoreUnavailable:
        return False
