"""Runs that have ended: in the order of their ends, until they are dropped."""

from __future__ import annotations

import contextlib
import math
import time
import typing as t
from collections.abc import Callable
from collections.abc import Collection

import redis

from flask_aistream.core.run import Run
from flask_aistream.stores.limits import Limits
from flask_aistream.stores.redis.keys import run_of
from flask_aistream.stores.redis.scripts import DELETE_IF_EQUAL
from flask_aistream.stores.redis.scripts import EXPIRE_IF_EQUAL
from flask_aistream.stores.redis.scripts import EXPIRE_IF_NEWEST
from flask_aistream.stores.redis.scripts import SUM
from flask_aistream.stores.redis.server import Server
from flask_aistream.stores.redis.server import is_outage
from flask_aistream.stores.redis.server import raised

SPARE_SECONDS = 60.0

RUN_BYTES = 1000
"""What a run takes besides its two keys."""

DROP = 64
"""Runs of one step."""


class RedisRetention:
    """
    :param name: Of this process.
    :param limits: Its ``store_bytes`` are those of all runs together, as the server counts them.
    :param living: Runs of this process that have not ended.
    :ivar keep: Milliseconds after which the server drops a run by itself, where no process is left to
        sweep; empty for never.
    """

    def __init__(
        self,
        server: Server,
        name: str,
        limits: Limits,
        living: Collection[str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        retain = limits.retain
        self.keep = "" if retain is None else str(int((retain + SPARE_SECONDS) * 1000))
        self._server = server
        self._keys = server.keys
        self._name = name
        self._limits = limits
        self._living = living
        self._clock = clock
        self._ended_at = -math.inf
        self._entered = False

    def add(self, run_id: str) -> None:
        """A run has ended: no process has to look after it any more."""
        with self._server.redis.pipeline(transaction=False) as pipe:
            pipe.hmget(self._keys.meta(run_id), "run", "process")
            pipe.memory_usage(self._keys.log(run_id))
            pipe.memory_usage(self._keys.meta(run_id))
            (about, owner), log_bytes, meta_bytes = pipe.execute()
        if about is None:
            return
        run, name = run_of(about), owner.decode()
        with self._server.redis.pipeline(transaction=False) as pipe:
            pipe.srem(self._keys.runs(name), run_id)
            if run.account is not None:
                pipe.srem(self._keys.owner(run.account), run_id)
            # Two that end at one moment keep their order.
            self._ended_at = max(self._clock(), self._ended_at + 1e-6)
            pipe.zadd(self._keys.ended, {run_id: self._ended_at})
            pipe.hset(self._keys.bytes, run_id, (log_bytes or 0) + (meta_bytes or 0) + RUN_BYTES)
            pipe.execute()
        # A cluster's pipeline takes neither a script nor PUBLISH.
        if self.keep:
            for key in self._keys.aliases(run):
                self._server.run(EXPIRE_IF_EQUAL, (key,), (run_id, self.keep))
            if run.chat is not None:
                chat = self._keys.alias("chat-runs", run.chat)
                self._server.run(EXPIRE_IF_NEWEST, (chat,), (run_id, self.keep))
        if name not in ("", self._name):
            self._server.redis.publish(self._keys.news(name), run_id)

    def sweep(self) -> bool:
        if self._limits.retain is not None:
            old = self._clock() - self._limits.retain
            self._drop(
                self._server.redis.zrangebyscore(self._keys.ended, "-inf", old), claimed=True
            )
        if self._limits.max_runs is not None:
            self._drop(self._server.redis.zrange(self._keys.ended, 0, -self._limits.max_runs - 1))
        limit = self._limits.store_bytes
        return limit is not None and self._is_full(limit)

    def drop(self, run_id: str) -> bool:
        claimant = self._server.redis.hget(self._keys.meta(run_id), "outbox")
        if claimant is None and self._server.redis.zscore(self._keys.ended, run_id) is not None:
            self._drop([run_id.encode()])
        return not self._server.redis.exists(self._keys.meta(run_id))

    def drop_oldest(self) -> None:
        self._drop(self._server.redis.zrange(self._keys.ended, 0, DROP - 1))

    def _is_full(self, limit: int) -> bool:
        """Drop more, if need be, and the oldest first.

        :returns: It was not enough.
        """
        mine = f"@{self._name}"
        if self._living:
            self._server.redis.hset(self._keys.bytes, mine, self._bytes(self._living))
        elif self._entered:
            self._server.redis.hdel(self._keys.bytes, mine)
        self._entered = bool(self._living)
        surplus = self._server.run(SUM, (self._keys.bytes,)) - limit
        while surplus > 0:
            oldest = self._server.redis.zrange(self._keys.ended, 0, DROP - 1)
            sizes = self._server.redis.hmget(self._keys.bytes, oldest) if oldest else []
            if not self._drop(oldest):
                return True
            surplus -= sum(int(size or 0) for size in sizes)
        return False

    def _bytes(self, run_ids: Collection[str]) -> int:
        with self._server.redis.pipeline(transaction=False) as pipe:
            for run_id in run_ids:
                pipe.memory_usage(self._keys.log(run_id))
                pipe.memory_usage(self._keys.meta(run_id))
            return sum(size or 0 for size in pipe.execute())

    def _drop(self, ended: Collection[bytes], *, claimed: bool = False) -> bool:
        """
        :param claimed: Also those whose end a process delivers.
        :returns: Whether any was dropped.
        """
        names = [name.decode() for name in ended]
        with self._server.redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hmget(self._keys.meta(name), "run", "outbox")
            replies = pipe.execute(raise_on_error=False) if names else []
        known = zip(names, map(about_and_claimant, replies), strict=True)
        abouts = {name: about for name, (about, claimant) in known if claimed or not claimant}
        if not abouts:
            return False
        for run_id, about in abouts.items():
            with contextlib.suppress(LookupError, TypeError, ValueError):  # Another program's.
                self._drop_names(run_id, run_of(about or b"null"))
        with self._server.redis.pipeline(transaction=False) as pipe:
            for run_id in abouts:
                # A cluster's pipeline deletes one at a time.
                pipe.delete(self._keys.log(run_id))
                pipe.delete(self._keys.meta(run_id))
            pipe.zrem(self._keys.ended, *abouts)
            pipe.hdel(self._keys.bytes, *abouts)
            pipe.execute()
        return True

    def _drop_names(self, run_id: str, run: Run) -> None:
        for key in self._keys.aliases(run):
            self._server.run(DELETE_IF_EQUAL, (key,), (run_id,))
        if run.chat is not None:
            self._server.redis.zrem(self._keys.alias("chat-runs", run.chat), run_id)


def about_and_claimant(reply: t.Any) -> tuple[bytes | None, bytes | None]:
    """What a meta key says; nothing, where another program has put a value of another type there."""
    if isinstance(reply, redis.ResponseError) and not is_outage(reply):
        return None, None
    return t.cast("tuple[bytes | None, bytes | None]", raised(reply))
