"""The connection that writes and asks."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Sequence

import redis
import redis.exceptions

OLDEST = (6, 2)
"""Trimming a stream by its ids came with it."""

# Of a cluster that is not there the client says something that is no RedisError.
FAULTS: tuple[type[Exception], ...] = (
    redis.RedisError,
    redis.exceptions.RedisClusterException,
    OSError,
)


class Server:
    """
    :param connect: Makes a client.
    :ivar redis: The client, once it was opened.
    """

    def __init__(self, connect: Callable[[], t.Any]) -> None:
        self.redis: t.Any = None
        self._connect = connect
        self._scripts: dict[str, t.Any] = {}

    def open(self) -> None:
        if self.redis is None:
            self.redis = self._connect()
        self.redis.ping()
        try:
            version = self.redis.info("server")["redis_version"]
        except redis.ResponseError:  # Not everyone may ask.
            return
        if tuple(map(int, version.split(".")[:2])) < OLDEST:
            raise redis.RedisError(f"it is Redis {version}, and the oldest that will do is 6.2")

    def run(self, script: str, keys: Sequence[str], args: Sequence[str | int] = ()) -> t.Any:
        """Have it do one of ``scripts``."""
        known = self._scripts.get(script)
        if known is None:
            known = self._scripts[script] = self.redis.register_script(script)
        return known(keys, args)

    def close(self) -> None:
        if self.redis is not None:
            self.redis.close()
