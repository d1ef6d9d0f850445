"""Runs that have ended: in the order of their ends, until they are forgotten."""

from __future__ import annotations

import contextlib
import math
import time
import typing as t
from collections.abc import Callable
from collections.abc import Collection

import redis

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
from flask_aistream.stores.redis.lengths import Lengths
from flask_aistream.stores.redis.scripts import KEEP
from flask_aistream.stores.redis.scripts import RELEASE
from flask_aistream.stores.redis.scripts import SUM
from flask_aistream.stores.redis.server import Server
from flask_aistream.stores.redis.server import is_outage
from flask_aistream.stores.redis.server import raised

SPARE_SECONDS = 60.0

RUN_BYTES = 1000
"""What a run takes besides its log."""

FORGET = 64
"""Runs, of one go."""


class Retention:
    """
    :param name: Of this process.
    :param bounds: Its ``store_bytes`` are those of all runs together, as the server counts them.
    :ivar keep: Milliseconds after which the server forgets one by itself, where no process is left to
        sweep; empty for never.
    """

    def __init__(
        self,
        server: Server,
        name: str,
        lengths: Lengths,
        bounds: Limits,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.keep = (
            "" if bounds.retain is None else str(int((bounds.retain + SPARE_SECONDS) * 1000))
        )
        self._server = server
        self._name = name
        self._lengths = lengths
        self._bounds = bounds
        self._clock = clock
        self._ended_at = -math.inf

    def add(self, run_id: str, teller: str) -> None:
        """A run has ended: nobody has to look after it any more, but who is to announce it, if any."""
        self._lengths.drop(run_id)
        with self._server.redis.pipeline(transaction=False) as pipe:
            pipe.hmget(meta_key(run_id), "run", "process")
            pipe.memory_usage(log_key(run_id))
            pipe.memory_usage(meta_key(run_id))
            (about, owner), log_bytes, meta_bytes = pipe.execute()
        if about is None:
            return
        run, name = run_of(about), owner.decode()
        with self._server.redis.pipeline(transaction=False) as pipe:
            if name != teller:
                pipe.srem(runs_of(name), run_id)
            if run.owner is not None:
                pipe.srem(alias("owner", run.owner), run_id)
            # Two that end in one moment keep their order.
            self._ended_at = max(self._clock(), self._ended_at + 1e-6)
            pipe.zadd(ENDED, {run_id: self._ended_at})
            pipe.hset(BYTES, run_id, (log_bytes or 0) + (meta_bytes or 0) + RUN_BYTES)
            pipe.execute()
        # A cluster's pipeline takes neither a script nor PUBLISH.
        if self.keep:
            for key in aliases(run):
                self._server.run(KEEP, (key,), (run_id, self.keep))
        if name not in ("", self._name):
            self._server.redis.publish(news_of(name), run_id)

    def sweep(self) -> bool:
        """:returns: Whether there is no room for another run."""
        forgotten: set[bytes] = set()
        if self._bounds.retain is not None:
            forgotten.update(
                self._server.redis.zrangebyscore(ENDED, "-inf", self._clock() - self._bounds.retain)
            )
        if self._bounds.max_runs is not None:
            forgotten.update(self._server.redis.zrange(ENDED, 0, -self._bounds.max_runs - 1))
        self.forget(forgotten)
        return self._bounds.store_bytes is not None and self._is_full(self._bounds.store_bytes)

    def _is_full(self, most: int) -> bool:
        """Forget more, if need be, and the oldest first.

        :returns: It was not enough.
        """
        mine = f"@{self._name}"
        if living := self._lengths.bytes():
            self._server.redis.hset(BYTES, mine, living)
        else:  # Nobody else clears away what a process left that never had a run.
            self._server.redis.hdel(BYTES, mine)
        surplus = self._server.run(SUM, (BYTES,)) - most
        while surplus > 0:
            oldest = self._server.redis.zrange(ENDED, 0, FORGET - 1)
            sizes = self._server.redis.hmget(BYTES, oldest) if oldest else []
            if not self.forget(oldest):
                return True
            surplus -= sum(int(size or 0) for size in sizes)
        return False

    def forget(self, forgotten: Collection[bytes]) -> bool:
        """
        :returns: Whether there were any but those that nobody has been told of yet.
        """
        with self._server.redis.pipeline(transaction=False) as pipe:
            names = [name.decode() for name in forgotten]
            for name in names:
                pipe.hmget(meta_key(name), "run", "teller")
            replies = pipe.execute(raise_on_error=False)
        known = zip(names, map(about_and_teller, replies), strict=True)
        abouts = {name: about for name, (about, teller) in known if teller is None}
        if not abouts:
            return False
        run_ids = list(abouts)
        for run_id, about in abouts.items():
            with contextlib.suppress(LookupError, TypeError, ValueError):  # Not written by us.
                for key in aliases(run_of(about)) if about else ():
                    self._server.run(RELEASE, (key,), (run_id,))
        with self._server.redis.pipeline(transaction=False) as pipe:
            for run_id in run_ids:
                # A cluster's pipeline deletes one at a time.
                pipe.delete(log_key(run_id))
                pipe.delete(meta_key(run_id))
            pipe.zrem(ENDED, *run_ids)
            pipe.hdel(BYTES, *run_ids)
            pipe.execute()
        return True

    def forget_oldest(self) -> None:
        self.forget(self._server.redis.zrange(ENDED, 0, FORGET - 1))


def about_and_teller(reply: t.Any) -> tuple[bytes | None, bytes | None]:
    """What a meta key says; nothing, where another program has put a value of another type there."""
    if isinstance(reply, redis.ResponseError) and not is_outage(reply):
        return None, None
    return t.cast("tuple[bytes | None, bytes | None]", raised(reply))
