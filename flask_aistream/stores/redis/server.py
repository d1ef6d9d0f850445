"""The connection that sends commands."""

from __future__ import annotations

import logging
import typing as t
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence

import redis
import redis.exceptions

from flask_aistream.stores.redis.keys import Keys
from flask_aistream.stores.redis.scripts import STATES

logger = logging.getLogger("flask_aistream")

GROUP = 100
"""Runs of one script call: a script holds up every other command."""

T = t.TypeVar("T")

OLDEST = (6, 2)
"""The first version that trims a stream by its ids."""

# For a cluster that is unreachable, the client raises an error that is no RedisError.
FAULTS: tuple[type[Exception], ...] = (
    redis.RedisError,
    redis.exceptions.RedisClusterException,
    OSError,
)


REFUSING = (
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
        return any(state in str(error) for state in REFUSING)
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

    def ended(self, run_ids: Collection[str]) -> dict[str, bool]:
        """Whether each of these runs has ended; without those that the server does not have."""
        found: dict[str, bool] = {}
        for group in self.groups(list(run_ids), lambda run_id: run_id):
            keys = [key for run_id in group for key in self.keys.both(run_id)]
            states = zip(group, self.run(STATES, keys), strict=True)
            found |= {run_id: bool(state) for run_id, state in states if state >= 0}
        return found

    def groups(self, items: Sequence[T], run: Callable[[T], str]) -> list[Sequence[T]]:
        """What one script may work on."""
        slot = getattr(self.redis, "keyslot", None)
        if slot is None:
            return [items[at : at + GROUP] for at in range(0, len(items), GROUP)]
        # In a cluster, one script may only touch keys of one slot.
        groups: dict[int, list[T]] = {}
        for item in items:
            groups.setdefault(slot(self.keys.log(run(item))), []).append(item)
        return list(groups.values())

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
