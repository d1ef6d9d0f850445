"""What the tests of shared stores need: several stores over one database, and logs that are read
once their records are durable."""

from __future__ import annotations

import dataclasses
import threading
import time
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import AbstractContextManager
from contextlib import contextmanager
from pathlib import Path

from flask_aistream.core.page import Page
from flask_aistream.server.threads import Threads
from flask_aistream.stores.base import PAGE
from flask_aistream.stores.base import Log
from flask_aistream.stores.limits import Limits
from flask_aistream.stores.redis import RedisEngine
from flask_aistream.stores.redis.client import redis_client
from flask_aistream.stores.shared.engine import Engine
from flask_aistream.stores.shared.store import SharedStore
from flask_aistream.stores.sqlite import SqliteEngine

PATIENCE = 10.0
LIMITS = [field.name for field in dataclasses.fields(Limits)]


class PromptLog:
    """A log that is read only once every earlier record is in the database.

    The contract's tests read at once what they have written; a shared log shows it a moment later.
    """

    def __init__(self, log: Log, store: PromptStore) -> None:
        self._log = log
        self._store = store

    def read(self, after: int, limit: int = PAGE) -> Page:
        self._store.settle()
        return self._log.read(after, limit)

    def __getattr__(self, name: str) -> t.Any:
        return getattr(self._log, name)


class PromptStore:
    def __init__(self, store: SharedStore) -> None:
        self._store = store
        self._writer = store.writer.ask(lambda engine: threading.get_ident())

    def settle(self) -> None:
        # A wake-up is called by the writer, which cannot wait for itself.
        if threading.get_ident() != self._writer:
            self._store.writer.ask(lambda engine: None)

    def create(self, *args: t.Any, **options: t.Any) -> tuple[PromptLog, bool]:
        log, new = self._store.create(*args, **options)
        return PromptLog(log, self), new

    def adopt(self, *args: t.Any) -> PromptLog | None:
        log = self._store.adopt(*args)
        return None if log is None else PromptLog(log, self)

    def open(self, run_id: str) -> PromptLog:
        return PromptLog(self._store.open(run_id), self)

    def started(self, key: str) -> PromptLog | None:
        log = self._store.started(key)
        return None if log is None else PromptLog(log, self)

    def __getattr__(self, name: str) -> t.Any:
        return getattr(self._store, name)


class Stores:
    """Each one as if it were in a process of its own."""

    def __init__(self, engine: Callable[..., Engine]) -> None:
        self._engine = engine
        self._open: list[SharedStore] = []

    def make(self, *, patience: float = PATIENCE, **options: t.Any) -> SharedStore:
        limits = Limits(**{name: options.pop(name) for name in LIMITS if name in options})
        store = SharedStore(
            self._engine(limits=limits, **options),
            Threads(),
            patience=patience,
            limits=limits,
            clock=options.get("clock", time.monotonic),
        )
        store.writer.start()
        self._open.append(store)
        return store

    def kill(self, store: SharedStore) -> None:
        """As if its process were gone from one moment to the next."""
        store.writer._closed = True
        store.writer.submit(lambda engine: None)

    def close(self) -> None:
        for store in self._open:
            store.close()


@contextmanager
def stores_over(engine: Callable[..., Engine]) -> Iterator[Stores]:
    stores = Stores(engine)
    yield stores
    stores.close()


def redis_stores(url: str) -> AbstractContextManager[Stores]:
    """Stores over the Redis at ``url``."""

    def engine(name: str = "one", **options: t.Any) -> Engine:
        return RedisEngine(lambda: redis_client(url), name, Threads(), **options)

    return stores_over(engine)


def sqlite_stores(path: Path) -> AbstractContextManager[Stores]:
    """Stores over the file ``path``."""

    def engine(name: str = "one", **options: t.Any) -> Engine:
        return SqliteEngine(str(path), name, **options)

    return stores_over(engine)
