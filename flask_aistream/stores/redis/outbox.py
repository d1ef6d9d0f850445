"""Ends of runs that are to be delivered: fields of the run's meta key, so that both are written in one step.

A set names the runs that have such fields. It is an index only: an entry without the fields is removed.
"""

from __future__ import annotations

from collections.abc import Collection

import redis

from flask_aistream.stores.base import OutboxRow
from flask_aistream.stores.redis.processes import RedisProcesses
from flask_aistream.stores.redis.scripts import CLAIM
from flask_aistream.stores.redis.scripts import DELIVERED
from flask_aistream.stores.redis.server import Server
from flask_aistream.stores.redis.server import is_outage
from flask_aistream.stores.redis.server import raised
from flask_aistream.stores.shared.engine import UNCLAIMED
from flask_aistream.stores.shared.engine import End
from flask_aistream.stores.shared.engine import choose


class RedisOutbox:
    """
    :param name: Of this process.
    """

    def __init__(self, server: Server, name: str, processes: RedisProcesses) -> None:
        self._server = server
        self._keys = server.keys
        self._name = name
        self._processes = processes

    def announce(self, end: End) -> None:
        """Enter a run in the index, before it ends: a crash in between leaves no row that no process finds."""
        if end.outbox is not None:
            self._server.redis.sadd(self._keys.outbox, end.run)
        if end.outbox:  # As before a claim.
            self._processes.beat()

    def claim(self, busy: Collection[str]) -> list[OutboxRow]:
        claimable = {UNCLAIMED, self._name, *self._processes.still_dead()}
        rows = self._rows()
        self._processes.claimants = {row.claimant for row in rows} - claimable
        claimed: list[OutboxRow] = []
        chosen = choose([row for row in rows if row.claimant in claimable], busy)
        if chosen:  # A process that had nothing to do counts as dead to others.
            self._processes.beat()
        for row in chosen:
            attempt = self._server.run(
                CLAIM, (self._keys.meta(row.run),), (self._name, row.claimant)
            )
            if attempt:
                claimed.append(OutboxRow(row.run, attempt))
        return claimed

    def _rows(self) -> list[OutboxRow]:
        run_ids = [it.decode() for it in self._server.redis.smembers(self._keys.outbox)]
        if not run_ids:
            return []
        with self._server.redis.pipeline(transaction=False) as pipe:
            for run_id in run_ids:
                pipe.hmget(self._keys.meta(run_id), "epoch", "token", "outbox", "deliveries")
            replies = pipe.execute(raise_on_error=False)
        rows: list[OutboxRow] = []
        for run_id, reply in zip(run_ids, replies, strict=True):
            if isinstance(reply, redis.ResponseError) and not is_outage(reply):
                reply = (None, None, None, None)
            epoch, token, claimant, count = raised(reply)
            if claimant is not None:
                rows.append(OutboxRow(run_id, int(count or 0) + 1, claimant.decode()))
            elif epoch is None or token is not None:
                self._server.redis.srem(self._keys.outbox, run_id)
        return rows

    def undelivered(self, run_ids: Collection[str]) -> set[str]:
        with self._server.redis.pipeline(transaction=False) as pipe:
            for run_id in run_ids:
                pipe.hexists(self._keys.meta(run_id), "outbox")
            return {run_id for run_id, row in zip(run_ids, pipe.execute(), strict=True) if row}

    def delivered(self, run_id: str) -> None:
        if self._server.run(DELIVERED, (self._keys.meta(run_id),), (self._name,)):
            self._server.redis.srem(self._keys.outbox, run_id)
