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
from flask_aistream.stores.redis.keys import BYTES
from flask_aistream.stores.redis.keys import ENDED
from flask_aistream.stores.redis.keys import alias
from flask_aistream.stores.redis.keys import aliases
from flask_aistream.stores.redis.keys import log_key
from flask_aistream.stores.redis.keys import meta_key
from flask_aistream.stores.redis.keys import news_of
from flask_aistream.stores.redis.keys import run_of
from flask_aistream.stores.redis.keys import runs_of
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


class Retention:
    """
    :param name: Of this process.
    :param limits: Its ``store_bytes`` are those of all runs together, as the server counts them.
    :ivar keep: Milliseconds after which the server drops a run by itself, where no process is left to
        sweep; empty for never.
    """

    def __init__(
        self,
        server: Server,
        name: str,
        limits: Limits,
        clock: Callable[[], float] = time.time,
    ) -> None:
        retain = limits.retain
        self.keep = "" if retain is None else str(int((retain + SPARE_SECONDS) * 1000))
        self._server = server
        self._name = name
        self._limits = limits
        self._clock = clock
        self._ended_at = -math.inf

    def add(self, run_id: str) -> None:
        """A run has ended: no process has to look after it any more."""
        with self._server.redis.pipeline(transaction=False) as pipe:
            pipe.hmget(meta_key(run_id), "run", "process")
            pipe.memory_usage(log_key(run_id))
            pipe.memory_usage(meta_key(run_id))
            (about, owner), log_bytes, meta_bytes = pipe.execute()
        if about is None:
            return
        run, name = run_of(about), owner.decode()
        with self._server.redis.pipeline(transaction=False) as pipe:
            pipe.srem(runs_of(name), run_id)
            if run.owner is not None:
                pipe.srem(alias("owner", run.owner), run_id)
            # Two that end at one moment keep their order.
            self._ended_at = max(self._clock(), self._ended_at + 1e-6)
            pipe.zadd(ENDED, {run_id: self._ended_at})
            pipe.hset(BYTES, run_id, (log_bytes or 0) + (meta_bytes or 0) + RUN_BYTES)
            pipe.execute()
        # A cluster's pipeline takes neither a script nor PUBLISH.
        if self.keep:
            for key in aliases(run):
                self._server.run(EXPIRE_IF_EQUAL, (key,), (run_id, self.keep))
            if run.chat is not None:
                chat = alias("chat-runs", run.chat)
                self._server.run(EXPIRE_IF_NEWEST, (chat,), (run_id, self.keep))
        if name not in ("", self._name):
            self._server.redis.publish(news_of(name), run_id)

    def sweep(self, living: Collection[str]) -> bool:
        """
        :param living: Runs of this process that have not ended.
        :returns: Whether there is no room for another run.
        """
        if self._limits.retain is not None:
            old = self._clock() - self._limits.retain
            self._drop(self._server.redis.zrangebyscore(ENDED, "-inf", old), claimed=True)
        if self._limits.max_runs is not None:
            self._drop(self._server.redis.zrange(ENDED, 0, -self._limits.max_runs - 1))
        most = self._limits.store_bytes
        return most is not None and self._is_full(most, living)

    def drop(self, run_id: str) -> bool:
        """:returns: Whether there is no such run any more."""
        claimant = self._server.redis.hget(meta_key(run_id), "outbox")
        if claimant is None and self._server.redis.zscore(ENDED, run_id) is not None:
            self._drop([run_id.encode()])
        return not self._server.redis.exists(meta_key(run_id))

    def drop_oldest(self) -> None:
        self._drop(self._server.redis.zrange(ENDED, 0, DROP - 1))

    def _is_full(self, most: int, living: Collection[str]) -> bool:
        """Drop more, if need be, and the oldest first.

        :returns: It was not enough.
        """
        mine = f"@{self._name}"
        if living:
            self._server.redis.hset(BYTES, mine, self._bytes(living))
        else:  # No other process removes the entry of one that never had a run.
            self._server.redis.hdel(BYTES, mine)
        surplus = self._server.run(SUM, (BYTES,)) - most
        while surplus > 0:
            oldest = self._server.redis.zrange(ENDED, 0, DROP - 1)
            sizes = self._server.redis.hmget(BYTES, oldest) if oldest else []
            if not self._drop(oldest):
                return True
            surplus -= sum(int(size or 0) for size in sizes)
        return False

    def _bytes(self, run_ids: Collection[str]) -> int:
        with self._server.redis.pipeline(transaction=False) as pipe:
            for run_id in run_ids:
                pipe.memory_usage(log_key(run_id))
                pipe.memory_usage(meta_key(run_id))
            return sum(size or 0 for size in pipe.execute())

    def _drop(self, ended: Collection[bytes], *, claimed: bool = False) -> bool:
        """
        :param claimed: Also those whose end a process delivers.
        :returns: Whether any was dropped.
        """
        names = [name.decode() for name in ended]
        with self._server.redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hmget(meta_key(name), "run", "outbox")
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
                pipe.delete(log_key(run_id))
                pipe.delete(meta_key(run_id))
            pipe.zrem(ENDED, *abouts)
            pipe.hdel(BYTES, *abouts)
            pipe.execute()
        return True

    def _drop_names(self, run_id: str, run: Run) -> None:
        for key in aliases(run):
            self._server.run(DELETE_IF_EQUAL, (key,), (run_id,))
        if run.chat is not None:
            self._server.redis.zrem(alias("chat-runs", run.chat), run_id)


def about_and_claimant(reply: t.Any) -> tuple[bytes | None, bytes | None]:
    """What a meta key says; nothing, where another program has put a value of another type there."""
    if isinstance(reply, redis.ResponseError) and not is_outage(reply):
        return None, None
    return t.cast("tuple[bytes | None, bytes | None]", raised(reply))
