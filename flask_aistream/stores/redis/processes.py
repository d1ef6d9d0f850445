"""Which processes live, which runs each has to look after, and which runs the dead ones have left."""

from __future__ import annotations

import time
import typing as t
from collections.abc import Callable
from collections.abc import Sequence

import redis

from flask_aistream.stores.redis.server import Server
from flask_aistream.stores.redis.server import is_outage
from flask_aistream.stores.redis.server import raised
from flask_aistream.stores.shared.engine import BEAT_SECONDS
from flask_aistream.stores.shared.engine import DEAD_SECONDS

WATCH_SECONDS = 2 * BEAT_SECONDS
"""Part of ``DEAD_SECONDS`` for which another process watches a heartbeat that is missing."""

IDLE_SECONDS = 0.95
"""Between two looks at a server on which no process has runs. The heartbeat of one that begins lasts longer."""

BEAT_MILLISECONDS = int((DEAD_SECONDS - WATCH_SECONDS) * 1000)
"""Time to live of a heartbeat key."""


class RedisProcesses:
    """
    :param name: Of this one.
    :ivar dead: The others that were dead at the last call of :meth:`orphans`.
    :ivar claimants: Others that have claimed rows of the outbox, as of its last claim.
    """

    def __init__(
        self, server: Server, name: str, ticks: Callable[[], float] = time.monotonic
    ) -> None:
        self._server = server
        self._keys = server.keys
        self._name = name
        self._ticks = ticks
        self._missing: dict[tuple[str, bool], float] = {}
        self._checked_at = 0.0
        self._idle = False
        self._known: set[str] = set()
        self.dead: list[str] = []
        self.claimants: set[str] = set()

    def beat(self) -> None:
        self._beat(self._server.redis)

    def enter(self, process: str, run_id: str) -> None:
        """Enter a run where recovery looks for those of a process; of none, where it waits for its owner."""
        with self._server.redis.pipeline(transaction=False) as pipe:
            if process:
                self._beat(pipe)
                pipe.sadd(self._keys.processes, process)
            pipe.sadd(self._keys.runs(process), run_id)
            pipe.execute()

    def watch(self, process: str) -> None:
        """Look after the runs of a process, of which one is read here: the server may have lost the set of processes,
        and that one may die before it enters itself again."""
        self._known |= {process} - {self._name}

    def repair(self, run_ids: Sequence[str]) -> None:
        """Enter this process and its living runs again."""
        with self._server.redis.pipeline(transaction=False) as pipe:
            pipe.sadd(self._keys.processes, self._name)
            pipe.sadd(self._keys.runs(self._name), *run_ids)
            pipe.execute()

    def orphans(self) -> list[tuple[str, int]]:
        now = self._ticks()
        if self._idle and now - self._checked_at < IDLE_SECONDS:
            return []
        self.dead = self._find_dead()
        found: list[tuple[str, int]] = []
        for name in (*self.dead, ""):
            runs = [
                run_id.decode() for run_id in self._server.redis.smembers(self._keys.runs(name))
            ]
            if runs and name and self._server.redis.exists(self._keys.beat(name)):
                continue  # It had nothing to look after, and has just begun to.
            found += self._living(name, runs)
            if not runs and name:
                self._remove(name)
        self._idle = not (found or self._known or self.claimants)
        return found

    def still_dead(self) -> list[str]:
        """Those of ``dead`` that have not begun to do something since."""
        return [name for name in self.dead if not self._server.redis.exists(self._keys.beat(name))]

    def _living(self, name: str, runs: Sequence[str]) -> list[tuple[str, int]]:
        """The runs of a process that have not ended, and their epochs."""
        if not runs:
            return []
        # In one go: any number may wait in a queue, and this is done twice a second.
        with self._server.redis.pipeline(transaction=False) as pipe:
            for run_id in runs:
                pipe.hmget(self._keys.meta(run_id), "process", "epoch", "token")
            replies = pipe.execute(raise_on_error=False)
        found: list[tuple[str, int]] = []
        for run_id, reply in zip(runs, replies, strict=True):
            if isinstance(reply, redis.ResponseError) and not is_outage(reply):
                reply = (None, None, None)
            process, epoch, token = raised(reply)
            if process == name.encode() and token is None:
                found.append((run_id, int(epoch)))
            else:
                self._server.redis.srem(self._keys.runs(name), run_id)
        return found

    def _remove(self, name: str) -> None:
        """Remove a process that has no runs."""
        self._known.discard(name)
        self._server.redis.srem(self._keys.processes, name)
        self._server.redis.hdel(self._keys.bytes, f"@{name}")
        # It may have begun a run at this moment.
        if self._server.redis.exists(self._keys.beat(name)):
            self._server.redis.sadd(self._keys.processes, name)

    def _find_dead(self) -> list[str]:
        """Processes whose heartbeat this one has seen missing for a while: after the server stood still or its
        clock was put forward, every heartbeat is missing until the next one. The time for which a process
        has had nothing to look after, and sent none, does not count once it has."""
        now = self._ticks()
        if now - self._checked_at > DEAD_SECONDS / 2:
            self._missing.clear()
        self._checked_at = now
        client = self._server.redis
        # Remembered: the server may lose the set before a dead process is found.
        found = {name.decode() for name in client.smembers(self._keys.processes)}
        self._known |= found - {self._name}
        names = self._known | self.claimants
        missing = [it for it in names if not client.exists(self._keys.beat(it))]
        states = [(name, bool(client.exists(self._keys.runs(name)))) for name in missing]
        self._missing = {state: self._missing.get(state, now) for state in states}
        return [name for (name, _), since in self._missing.items() if now - since >= WATCH_SECONDS]

    def _beat(self, client: t.Any) -> None:
        client.set(self._keys.beat(self._name), 1, px=BEAT_MILLISECONDS)
