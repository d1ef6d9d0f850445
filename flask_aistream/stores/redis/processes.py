"""Which processes live, what each is to look after, and what is to be done for the dead."""

from __future__ import annotations

import time
import typing as t
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Sequence

import redis

from flask_aistream.stores.redis.keys import BYTES
from flask_aistream.stores.redis.keys import ENDED
from flask_aistream.stores.redis.keys import PROCESSES
from flask_aistream.stores.redis.keys import beat_key
from flask_aistream.stores.redis.keys import log_key
from flask_aistream.stores.redis.keys import meta_key
from flask_aistream.stores.redis.keys import runs_of
from flask_aistream.stores.redis.retention import Retention
from flask_aistream.stores.redis.scripts import INHERIT
from flask_aistream.stores.redis.scripts import TOLD
from flask_aistream.stores.redis.server import Server
from flask_aistream.stores.redis.server import is_outage
from flask_aistream.stores.redis.server import raised
from flask_aistream.stores.shared.engine import BEAT_SECONDS
from flask_aistream.stores.shared.engine import DEAD_SECONDS

WATCH_SECONDS = 2 * BEAT_SECONDS
"""Of ``DEAD_SECONDS``: so long others watch a heartbeat that is missing."""


BEAT_MILLISECONDS = int((DEAD_SECONDS - WATCH_SECONDS) * 1000)
"""Of a heartbeat key, until it expires."""


class Processes:
    """
    :param name: Of this one.
    """

    def __init__(
        self,
        server: Server,
        name: str,
        finished: Retention,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server = server
        self._name = name
        self._finished = finished
        self._ticks = ticks
        self._missing: dict[tuple[str, bool], float] = {}
        self._looked = 0.0
        self._untold: list[tuple[str, str]] = []

    def beat(self) -> None:
        self._beat(self._server.redis)

    def repair(self, run_ids: Sequence[str]) -> None:
        """Enter this process and its living runs again where recovery looks for them."""
        with self._server.redis.pipeline(transaction=False) as pipe:
            pipe.sadd(PROCESSES, self._name)
            pipe.sadd(runs_of(self._name), *run_ids)
            pipe.execute()

    def orphans(self) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        self._untold = []
        for name in (*self.dead(), ""):
            runs = [run_id.decode() for run_id in self._server.redis.smembers(runs_of(name))]
            if runs and name and self._server.redis.exists(beat_key(name)):
                continue  # It had nothing to look after, and has just begun to.
            # In one go: as many may wait in a queue as like, and this is done twice a second.
            with self._server.redis.pipeline(transaction=False) as pipe:
                for run_id in runs:
                    pipe.hmget(meta_key(run_id), "process", "epoch", "token", "teller")
                replies = pipe.execute(raise_on_error=False)
            for run_id, about in zip(runs, replies, strict=True):
                if isinstance(about, redis.ResponseError) and not is_outage(about):
                    self._server.redis.srem(runs_of(name), run_id)
                    continue
                process, epoch, token, teller = raised(about)
                if process == name.encode() and token is None:
                    found.append((run_id, int(epoch)))
                elif teller in (name.encode(), self._name.encode()):
                    self._untold.append((run_id, name))
                elif teller is None:
                    self._server.redis.srem(runs_of(name), run_id)
            if not runs and name:
                self._server.redis.srem(PROCESSES, name)
                self._server.redis.hdel(BYTES, f"@{name}")
                # It may have begun something in this moment.
                if self._server.redis.exists(beat_key(name)):
                    self._server.redis.sadd(PROCESSES, name)
        return found

    def told(self, run_id: str) -> None:
        self._server.run(
            TOLD, (log_key(run_id), meta_key(run_id)), (self._name, self._finished.keep)
        )
        self._server.redis.srem(runs_of(self._name), run_id)

    def untold(self, doubtful: Collection[str]) -> list[str]:
        found: list[str] = []
        for run_id, teller in (*self._untold, *((run_id, self._name) for run_id in doubtful)):
            self.answer_for(self._name, run_id)
            if self._server.run(INHERIT, (meta_key(run_id),), (self._name, teller)):
                found.append(run_id)
                # It may have died, or lost its connection, in the middle of that.
                if self._server.redis.zscore(ENDED, run_id) is None:
                    self._finished.add(run_id, teller)
        return found

    def dead(self) -> list[str]:
        """Processes whose heartbeat has been missing for a while of our own: where the server stood
        still or its clock was put forward, everybody's is missing until they have beaten again. So it is
        while they have nothing to look after, which does not count once they have."""
        now = self._ticks()
        if now - self._looked > DEAD_SECONDS / 2:
            self._missing.clear()
        self._looked = now
        redis = self._server.redis
        names = [name.decode() for name in redis.smembers(PROCESSES)]
        missing = [it for it in names if it != self._name and not redis.exists(beat_key(it))]
        states = [(name, bool(redis.exists(runs_of(name)))) for name in missing]
        self._missing = {state: self._missing.get(state, now) for state in states}
        return [name for (name, _), since in self._missing.items() if now - since >= WATCH_SECONDS]

    def answer_for(self, process: str, run_id: str) -> None:
        """Note that a process, or none, is to look after a run."""
        with self._server.redis.pipeline(transaction=False) as pipe:
            if process:
                self._beat(pipe)
                pipe.sadd(PROCESSES, process)
            pipe.sadd(runs_of(process), run_id)
            pipe.execute()

    def _beat(self, client: t.Any) -> None:
        client.set(beat_key(self._name), 1, px=BEAT_MILLISECONDS)
