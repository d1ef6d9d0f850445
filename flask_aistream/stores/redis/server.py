"""The connection that sends commands."""

from __future__ import annotations

import logging
import typing as t
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

import redis
import redis.exceptions

from flask_aistream.stores.redis.keys import Keys

logger = logging.getLogger("flask_aistream")

OLDEST = (6, 2)
"""The first version that trims a stream by its ids."""

# For a cluster that is unreachable, the client raises an error that is no RedisError.
FAULTS: tuple[type[Exception], ...] = (
    redis.RedisError,
    redis.exceptions.RedisClusterException,
    OSError,
)


STATES = (
    *("maxmemory", "MISCONF", "LOADING", "NOREPLICAS", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN"),
    *("READONLY", "NOAUTH", "NOPERM", "BUSY "),
)
"""In an error reply, also of a script: the server refuses every command of its kind."""

REFUSALS = (
    redis.exceptions.ReadOnlyError,
    redis.exceptions.NoPermissionError,
    redis.exceptions.ClusterError,
    redis.exceptions.AskError,
)
"""The same errors, as classes of the client, which removes the code from their text."""


def is_outage(error: Exception) -> bool:
    """Whether the connection or the server keeps every command from being done."""
    if isinstance(error, redis.DataError):
        return False
    if isinstance(error, redis.ResponseError) and not isinstance(error, REFUSALS):
        return any(state in str(error) for state in STATES)
    return isinstance(error, FAULTS)


def is_wrong_type(error: Exception) -> bool:
    return "WRONGTYPE" in str(error)


def raised(reply: t.Any) -> t.Any:
    """A reply of a pipeline that does not raise by itself."""
    if isinstance(reply, Exception):
        raise reply
    return reply


class Server:
    """
    :param connect: Makes a client.
    :param namespace: Of the application.
    :ivar keys: Names of its keys.
    :ivar redis: The client, once it was opened.
    """

    def __init__(self, connect: Callable[[], t.Any], namespace: str) -> None:
        self.keys = Keys(namespace)
        self.redis: t.Any = None
        self._connect = connect
        self._scripts: dict[str, t.Any] = {}

    def open(self) -> None:
        if self.redis is None:
            self.redis = self._connect()
        self.redis.ping()
        try:
            version = self.redis.info("server")["redis_version"]
        except redis.ResponseError:  # This user may not read it.
            return
        if tuple(map(int, version.split(".")[:2])) < OLDEST:
            raise redis.RedisError(f"it is Redis {version}, and the oldest that will do is 6.2")

    def run(self, script: str, keys: Sequence[str], args: Sequence[str | int] = ()) -> t.Any:
        """Run one of ``scripts``."""
        known = self._scripts.get(script)
        if known is None:
            known = self._scripts[script] = self.redis.register_script(script)
        return known(keys, args)

    def remove_foreign(self, types: Mapping[str, bytes]) -> bool:
        """Delete keys that another program has given a value of another type.

        :param types: Of each key.
        :returns: Whether there were any.
        """
        with self.redis.pipeline(transaction=False) as pipe:
            for key in types:
                pipe.type(key)
            found = zip(types, pipe.execute(), strict=True)
        foreign = [key for key, kind in found if kind not in (b"none", types[key])]
        for key in foreign:  # In a cluster, they are in several slots.
            logger.error("The key %s in Redis had a value of another program. It was deleted.", key)
            self.redis.delete(key)
        return bool(foreign)

    def close(self) -> None:
        if self.redis is not None:
            self.redis.close()
