"""URL → store. The only place that knows which kinds there are."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from urllib.parse import unquote
from urllib.parse import urlsplit

from flask_aistream.errors import StoreUnavailable
from flask_aistream.stores.base import Store
from flask_aistream.stores.limits import UNLIMITED
from flask_aistream.stores.limits import Limits
from flask_aistream.stores.memory import MemoryStore
from flask_aistream.stores.shared.engine import Engine
from flask_aistream.stores.shared.store import SharedStore
from flask_aistream.timing.concurrency import Spawner

EXAMPLES = (
    "`memory://`, `sqlite:////absolute/path.sqlite`, `redis://host:6379/0`, `rediss://…`, "
    "`redis+sentinel://host:26379,host:26379/service/0` or `redis+cluster://host:6379`"
)


def is_store_url(url: object) -> bool:
    if not isinstance(url, str):
        return False
    scheme, found, rest = url.partition("://")
    if scheme == "sqlite":
        return rest[:1] == "/" and rest not in ("/", "/:memory:")
    return bool(found) and scheme in ENGINES


def open_store(url: str, process: Spawner, *, patience: float, bounds: Limits) -> Store:
    """The store that a URL names. Connects later: see :func:`check_connection`.

    :param patience: Seconds the store may be away before running runs fail.
    """
    make = ENGINES[scheme_of(url)]
    if make is None:
        return MemoryStore(bounds, lock=process.lock)
    return SharedStore(make(url, process, bounds), process, patience=patience, bounds=bounds)


def check_connection(url: str, process: Spawner) -> None:
    """Open a store once, and close it.

    :raises StoreUnavailable: It cannot be opened now; ``cause`` says why.
    :raises ValueError: It never can, as its URL or what is installed is.
    """
    make = ENGINES[scheme_of(url)]
    if make is None:
        return
    try:
        engine = make(url, NoSpawn(process), UNLIMITED)
    except ImportError:
        raise ValueError(
            "the package redis is not installed; `pip install flask_aistream[redis]` does that"
        ) from None
    try:
        engine.open(NullListener())
    except Exception as error:
        if engine.is_outage(error):
            raise StoreUnavailable(cause_of(error)) from None
        if isinstance(error, (ValueError, TypeError)):  # The client cannot read its URL.
            raise ValueError(cause_of(error)) from None
        raise
    finally:
        engine.close()


CAUSES = {
    "Port could not be cast": "its port is no number; special characters of a password, such as / and @, "
    "must be percent-encoded",
    "HELLO must be called": "the server asks for a password",
    "Authentication required": "the server asks for a password",
}
"""What a client says, and what it means."""


def cause_of(error: Exception) -> str:
    text = str(error) or type(error).__name__
    meant = [said for begin, said in CAUSES.items() if text.startswith(begin)]
    # A Sentinel's client appends all of its settings.
    return meant[0] if meant else text.partition(" : <")[0]


class NoSpawn:
    """A process in which nothing is started: the store is only tried."""

    def __init__(self, process: Spawner) -> None:
        self.spawn_thread, self.call_soon_threadsafe = (
            process.spawn_thread,
            process.call_soon_threadsafe,
        )
        self.waiter, self.lock = process.waiter, process.lock

    def spawn(self, work: Callable[[], None]) -> object:
        return None


class NullListener:
    def arrived(self, run_id: str, pieces: object) -> None: ...
    def stale(self, run_id: str | None) -> None: ...


def sqlite_engine(url: str, process: Spawner, bounds: Limits) -> Engine:
    from flask_aistream.stores.sqlite import SqliteEngine

    # sqlite:///a is below the working directory, sqlite:////a at the root: as SQLAlchemy reads it.
    path = unquote(urlsplit(url).path)[1:]
    return SqliteEngine(path, new_name(), bounds)


def redis_engine(url: str, process: Spawner, bounds: Limits) -> Engine:
    from flask_aistream.stores.redis import RedisEngine
    from flask_aistream.stores.redis.client import redis_client

    return RedisEngine(lambda: redis_client(url), new_name(), process, bounds)


ENGINES: dict[str, Callable[[str, Spawner, Limits], Engine] | None] = {
    "memory": None,
    "sqlite": sqlite_engine,
    **dict.fromkeys(
        (
            "redis",
            "rediss",
            "unix",
            "redis+sentinel",
            "rediss+sentinel",
            "redis+cluster",
            "rediss+cluster",
        ),
        redis_engine,
    ),
}


def scheme_of(url: str) -> str:
    return url.partition("://")[0]


def new_name() -> str:
    """Of a process. Its number would come back, and is the same in two containers."""
    return secrets.token_urlsafe(9)


def without_password(url: str) -> str:
    """For messages and logs. Also of a URL that is wrong: where a password ends is then a guess."""
    scheme, found, rest = url.partition("://")
    login, at, hosts = (rest if found else url).rpartition("@")
    user, colon, _ = login.partition(":")
    shown = f"{scheme + found if found else ''}{user}{colon and ':***'}{at}{hosts}"
    return re.sub("(?<=password=)[^&]*", "***", shown)


__all__ = ["EXAMPLES", "check_connection", "is_store_url", "open_store", "without_password"]
