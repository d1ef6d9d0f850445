"""By what a run is found besides its id: its key, its chat, its owner."""

from __future__ import annotations

import typing as t
from collections.abc import Sequence

from flask_aistream.core.run import Run
from flask_aistream.stores.redis.keys import alias
from flask_aistream.stores.redis.keys import aliases
from flask_aistream.stores.redis.keys import meta_key
from flask_aistream.stores.redis.scripts import COUNT
from flask_aistream.stores.redis.scripts import RELEASE
from flask_aistream.stores.redis.server import Server


class Indexes:
    def __init__(self, server: Server) -> None:
        self._server = server

    def started(self, key: str) -> str | None:
        return self._named("key", key)

    def latest(self, chat: str) -> str | None:
        return self._named("chat", chat)

    def leave_chat(self, chat: str, run_id: str) -> None:
        self._server.run(RELEASE, (alias("chat", chat),), (run_id,))

    def _named(self, kind: str, value: str) -> str | None:
        found = self._server.redis.get(alias(kind, value))
        if found is None or not self._server.redis.exists(meta_key(found.decode())):
            return None
        return t.cast(str, found.decode())

    def claim(self, run: Run) -> str:
        """:returns: Id of the run that has the key."""
        key = alias("key", t.cast(str, run.key))
        while not self._server.redis.set(key, run.id, nx=True):
            found = self._server.redis.get(key)
            winner = found.decode() if found is not None else ""
            if winner == run.id or self._server.redis.exists(meta_key(winner)):
                return t.cast(str, winner)
            self._server.run(RELEASE, (key,), (winner,))  # That run was forgotten.
        return run.id

    def disclaim(self, run: Run) -> None:
        if run.key is not None:
            self._server.run(RELEASE, (alias("key", run.key),), (run.id,))

    def give(self, run: Run) -> None:
        with self._server.redis.pipeline(transaction=False) as pipe:
            if run.owner is not None:
                pipe.sadd(alias("owner", run.owner), run.id)
            if run.chat is not None:
                pipe.set(alias("chat", run.chat), run.id)
            pipe.execute()

    def repair(self, runs: Sequence[Run]) -> None:
        """Enter living runs again. A name that another run has taken meanwhile stays with that run."""
        with self._server.redis.pipeline(transaction=False) as pipe:
            for run in runs:
                for key in aliases(run):
                    pipe.set(key, run.id, nx=True)
                if run.owner is not None:
                    pipe.sadd(alias("owner", run.owner), run.id)
            pipe.execute()

    def running(self, owner: str) -> int:
        return t.cast(int, self._server.redis.scard(alias("owner", owner)))

    def may_have(self, run: Run, most: int) -> bool:
        """Count the run among its owner's, unless they have so many."""
        if run.owner is None:
            return True
        return bool(self._server.run(COUNT, (alias("owner", run.owner),), (run.id, most)))
