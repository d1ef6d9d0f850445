"""URL → store. The only module that knows all kinds."""

from __future__ import annotations

import itertools
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

PARAMETER = re.compile(r"(?<=[?&;])([^=&;]*)=[^&;]*")
SECRET = re.compile("pass|pwd|secret|token|auth|credential", re.IGNORECASE)

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


def open_store(
    url: str, process: Spawner, namespace: str, *, patience: float, limits: Limits
) -> Store:
    """The store that a URL names. It connects later: see :func:`check_connection`.

    :param namespace: Of the application. Stores with another one are invisible to it.
    :param patience: Seconds the store may be unavailable before living runs fail.
    """
    make = ENGINES[scheme_of(url)]
    if make is None:
        return MemoryStore(limits, lock=process.lock)
    store = SharedStore(
        make(url, process, limits, namespace), process, patience=patience, limits=limits
    )
    store.writer.start()
    return store


def check_connection(url: str, process: Spawner) -> None:
    """Open a store once, and close it.

    :raises StoreUnavailable: It cannot be opened now; ``cause`` says why.
    :raises ValueError: It never can, as its URL or what is installed is.
    """
    make = ENGINES[scheme_of(url)]
    if make is None:
        return
    try:
        engine = make(url, process, UNLIMITED, "")
    except ImportError:
        raise ValueError(
            "the package redis is not installed; `pip install flask_aistream[redis]` does that"
        ) from None
    try:
        engine.open(None)
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
"""How an error of a client begins, and what it means."""


def cause_of(error: Exception) -> str:
    text = str(error) or type(error).__name__
    meant = [cause for begin, cause in CAUSES.items() if text.startswith(begin)]
    # A Sentinel's client appends all of its settings.
    return meant[0] if meant else text.partition(" : <")[0]


def sqlite_engine(url: str, process: Spawner, limits: Limits, namespace: str) -> Engine:
    from flask_aistream.stores.sqlite import SqliteEngine

    # sqlite:///a is below the working directory, sqlite:////a at the root: as SQLAlchemy reads it.
    path = unquote(urlsplit(url).path)[1:]
    return SqliteEngine(path, new_name(), limits, namespace=namespace)


def redis_engine(url: str, process: Spawner, limits: Limits, namespace: str) -> Engine:
    from flask_aistream.stores.redis import RedisEngine
    from flask_aistream.stores.redis.client import redis_client

    return RedisEngine(lambda: redis_client(url), new_name(), process, limits, namespace=namespace)


ENGINES: dict[str, Callable[[str, Spawner, Limits, str], Engine] | None] = {
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
    """A unique name for this process. Process ids are reused, and two containers may have the same ones."""
    return secrets.token_urlsafe(9)


def without_password(url: str) -> str:
    """For messages and logs. Accepts a wrong URL too: where the password ends is then a guess.

    What stands before the host is a password if no colon follows it: ``redis://token@host``.
    """
    scheme, found, rest = url.partition("://")
    if scheme == "sqlite":
        return url
    login, at, hosts = (rest if found else url).rpartition("@")
    user, colon, _ = login.partition(":")
    masked = f"{user}:***" if colon else "***"
    shown = f"{scheme + found if found else ''}{masked if at else ''}{at}{hosts}"
    return PARAMETER.sub(masked_parameter, shown)


def masked_parameter(match: re.Match[str]) -> str:
    return f"{match[1]}=***" if SECRET.search(unquote(match[1])) else match[0]


def without_secrets(text: str, url: str) -> str:
    """A text of a driver, without the passwords of the URL that it was given."""
    masked = without_password(url).split("***")
    rest, secrets_found = url, set()
    for before, after in itertools.pairwise(masked):
        start = rest.find(before) + len(before)
        end = rest.find(after, start) if after else len(rest)
        secrets_found.add(rest[start:end])
        rest = rest[end:]
    for secret in secrets_found | {unquote(it) for it in secrets_found}:
        if len(secret) > 1:
            text = text.replace(secret, "***")
    return text


__all__ = [
    "EXAMPLES",
    "check_connection",
    "is_store_url",
    "open_store",
    "without_password",
    "without_secrets",
]
