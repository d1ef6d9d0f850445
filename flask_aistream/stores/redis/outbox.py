"""Ends of runs that are to be delivered: fields of the run's meta key, so that both are written in one step.

A set names the runs that have such fields. It is an index only: an entry without the fields is removed.
"""

from __future__ import annotations

from collections.abc import Collection

import redis

from flask_aistream.stores.redis.keys import OUTBOX
from flask_aistream.stores.redis.keys import meta_key
from flask_aistream.stores.redis.processes import Processes
from flask_aistream.stores.redis.scripts import CLAIM
from flask_aistream.stores.redis.scripts import DELIVERED
from flask_aistream.stores.redis.server import Server
from flask_aistream.stores.redis.server import is_outage
from flask_aistream.stores.redis.server import raised
from flask_aistream.stores.shared.engine import End

UNCLAIMED = ""


class Outbox:
    """
    :param name: Of this process.
    """

    def __init__(self, server: Server, name: str, processes: Processes) -> None:
        self._server = server
        self._name = name
        self._processes = processes

    def announce(self, end: End) -> None:
        """Enter a run in the index, before it ends: a crash in between leaves no row that no process finds."""
        if end.outbox is not None:
            self._server.redis.sadd(OUTBOX, end.run)

    def arguments(self, end: End) -> tuple[str, str]:
        """Of the script ``END``: whether to write a row, and its first claimant."""
        return "" if end.outbox is None else "1", self._name if end.outbox else UNCLAIMED

    def claim(self, busy: Collection[str]) -> list[tuple[str, int]]:
        members = [it.decode() for it in self._server.redis.smembers(OUTBOX)]
        run_ids = [it for it in members if it not in busy]
        with self._server.redis.pipeline(transaction=False) as pipe:
            for run_id in run_ids:
                pipe.hmget(meta_key(run_id), "epoch", "token", "outbox")
            replies = pipe.execute(raise_on_error=False) if run_ids else []
        claimed: list[tuple[str, int]] = []
        self._processes.claimants = set()
        for run_id, reply in zip(run_ids, replies, strict=True):
            if isinstance(reply, redis.ResponseError) and not is_outage(reply):
                reply = (None, None, None)
            epoch, token, claimant = raised(reply)
            if claimant is None and (epoch is None or token is not None):
                self._server.redis.srem(OUTBOX, run_id)
            elif claimant is not None:
                count = self._claim(run_id, claimant.decode())
                if count:
                    claimed.append((run_id, count))
        return claimed

    def _claim(self, run_id: str, claimant: str) -> int:
        if claimant not in (UNCLAIMED, self._name, *self._processes.dead):
            self._processes.claimants.add(claimant)
            return 0
        return int(self._server.run(CLAIM, (meta_key(run_id),), (self._name, claimant)))

    def delivered(self, run_id: str) -> None:
        if self._server.run(DELIVERED, (meta_key(run_id),), (self._name,)):
            self._server.redis.srem(OUTBOX, run_id)
