"""Secondary indexes of the runs: by idempotency key, chat and owner."""

from __future__ import annotations

import typing as t
from collections.abc import Collection

from flask_aistream.core.run import Run
from flask_aistream.errors import ChatBusy
from flask_aistream.stores.base import CHAT_RUNS
from flask_aistream.stores.base import LISTED
from flask_aistream.stores.redis.scripts import COUNT
from flask_aistream.stores.redis.scripts import DELETE_IF_EQUAL
from flask_aistream.stores.redis.scripts import ENTER_CHAT
from flask_aistream.stores.redis.server import Server
from flask_aistream.stores.shared.engine import Name


class RedisIndexes:
    def __init__(self, server: Server) -> None:
        self._server = server
        self._keys = server.keys

    def find(self, kind: Name, value: str) -> list[str]:
        if kind == "all":
            return self._all()
        if kind in ("chat-runs", "chat-live"):
            return self._chat_runs(value, live=kind == "chat-live")
        found = self._server.redis.get(self._keys.alias(kind, value))
        if found is None or not self._server.redis.exists(self._keys.meta(found.decode())):
            return []
        return [found.decode()]

    def _all(self) -> list[str]:
        redis, keys = self._server.redis, self._keys
        processes = ["", *(it.decode() for it in redis.smembers(keys.processes))]
        living = (run for process in processes for run in redis.smembers(keys.runs(process)))
        ended = redis.zrevrange(keys.ended, 0, LISTED - 1)
        return list(dict.fromkeys(it.decode() for it in (*living, *ended)))[:LISTED]

    def leave_chat(self, chat: str, run_id: str) -> None:
        self._server.run(DELETE_IF_EQUAL, (self._keys.alias("chat", chat),), (run_id,))

    def claim_key(self, run: Run, take: bool = False) -> str:
        """
        :param take: An earlier run loses the key.
        :returns: Id of the run that has the key.
        """
        key = self._keys.alias("key", t.cast(str, run.key))
        if take:
            self._server.redis.set(key, run.id)
        while not self._server.redis.set(key, run.id, nx=True):
            found = self._server.redis.get(key)
            winner = found.decode() if found is not None else ""
            if winner == run.id or self._server.redis.exists(self._keys.meta(winner)):
                return t.cast(str, winner)
            self._server.run(DELETE_IF_EQUAL, (key,), (winner,))  # That run was dropped.
        return run.id

    def release_key(self, run: Run) -> None:
        if run.key is not None:
            self._server.run(DELETE_IF_EQUAL, (self._keys.alias("key", run.key),), (run.id,))

    def enter_chat(self, run: Run, previous: str | None = None) -> None:
        """Enter a run among those of its chat.

        :raises ChatBusy: ``previous`` is not the newest of them, or has not ended.
        """
        if run.chat is None:
            return
        if previous and not self._server.ended([previous]).get(previous, True):
            raise ChatBusy(previous)
        key, expected = (
            self._keys.alias("chat-runs", run.chat),
            "*" if previous is None else previous,
        )
        newest = self._server.run(ENTER_CHAT, (key,), (run.id, expected, CHAT_RUNS))
        if newest:
            raise ChatBusy(newest.decode())

    def _chat_runs(self, chat: str, *, live: bool) -> list[str]:
        """Those runs of a chat that were not dropped; the others are removed from it."""
        key = self._keys.alias("chat-runs", chat)
        run_ids = [it.decode() for it in self._server.redis.zrange(key, 0, -1)]
        known = self._server.ended(run_ids)
        dropped = [run_id for run_id in run_ids if run_id not in known]
        if dropped:
            self._server.redis.zrem(key, *dropped)
        return [run_id for run_id in run_ids if run_id in known and not (live and known[run_id])]

    def add(self, run: Run) -> None:
        with self._server.redis.pipeline(transaction=False) as pipe:
            if run.account is not None:
                pipe.sadd(self._keys.owner(run.account), run.id)
            if run.chat is not None:
                pipe.set(self._keys.alias("chat", run.chat), run.id)
            pipe.execute()
        self.enter_chat(run)

    def repair(self, runs: Collection[Run]) -> None:
        """Enter living runs again. A name that another run has taken meanwhile stays with that run."""
        with self._server.redis.pipeline(transaction=False) as pipe:
            for run in runs:
                for key in self._keys.aliases(run):
                    pipe.set(key, run.id, nx=True)
                if run.account is not None:
                    pipe.sadd(self._keys.owner(run.account), run.id)
            pipe.execute()
        for run in runs:
            self.enter_chat(run)

    def count(self, run: Run, limit: int) -> bool:
        """Enter a run among its owner's, unless these are ``limit`` already."""
        if run.account is None:
            return True
        key = self._keys.owner(run.account)
        if self._server.run(COUNT, (key,), (run.id, limit)):
            return True
        run_ids = [it.decode() for it in self._server.redis.smembers(key)]
        known = self._server.ended(run_ids)
        self.remove(run.account, [it for it in run_ids if known.get(it) is not False])
        return bool(self._server.run(COUNT, (key,), (run.id, limit)))

    def remove(self, account: str, run_ids: Collection[str]) -> None:
        """Remove runs from those of an owner."""
        if run_ids:
            self._server.redis.srem(self._keys.owner(account), *run_ids)
