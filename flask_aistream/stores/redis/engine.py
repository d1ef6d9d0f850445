"""The contract of an engine, kept in Redis.

A run is a stream: each entry holds neighbouring records, and its id ``<length + 1>-<epoch>`` says how long the
log is with it, and under which owner it was appended. An entry is appended only where the log is as long as it
expects: an entry that is appended twice, that comes after another process's end, or whose predecessors a
restart or a failover has lost, is refused. An adoption appends an empty entry of the next epoch, so the next
entry of the former owner is refused too.
Pub/sub carries every entry to the processes that follow the run at that moment; what it loses is read from
the stream.
"""

from __future__ import annotations

import contextlib
import time
import typing as t
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Sequence

import redis

from flask_aistream.core.run import Run
from flask_aistream.errors import ChatBusy
from flask_aistream.errors import RunUnreadable
from flask_aistream.errors import TooManyRuns
from flask_aistream.stores.base import UNCONDITIONAL
from flask_aistream.stores.base import Conditions
from flask_aistream.stores.limits import UNLIMITED
from flask_aistream.stores.limits import Limits
from flask_aistream.stores.redis.following import RedisFollowing
from flask_aistream.stores.redis.indexes import RedisIndexes
from flask_aistream.stores.redis.keys import about_of
from flask_aistream.stores.redis.keys import entry_id
from flask_aistream.stores.redis.keys import run_of
from flask_aistream.stores.redis.keys import segment_of
from flask_aistream.stores.redis.outbox import RedisOutbox
from flask_aistream.stores.redis.processes import BEAT_MILLISECONDS
from flask_aistream.stores.redis.processes import RedisProcesses
from flask_aistream.stores.redis.pulse import Pulse
from flask_aistream.stores.redis.retention import RedisRetention
from flask_aistream.stores.redis.scripts import ADOPT
from flask_aistream.stores.redis.scripts import APPEND
from flask_aistream.stores.redis.scripts import CREATE
from flask_aistream.stores.redis.scripts import END
from flask_aistream.stores.redis.scripts import RELEASE
from flask_aistream.stores.redis.server import FAULTS
from flask_aistream.stores.redis.server import Server
from flask_aistream.stores.redis.server import is_outage
from flask_aistream.stores.redis.server import is_wrong_type
from flask_aistream.stores.shared.engine import Batch
from flask_aistream.stores.shared.engine import End
from flask_aistream.stores.shared.engine import Listener
from flask_aistream.stores.shared.engine import Repaired
from flask_aistream.stores.shared.engine import Snapshot
from flask_aistream.timing.concurrency import Spawner

UNREADABLE = (redis.ResponseError, LookupError, TypeError, ValueError)
"""What reading a key raises that another program has written."""

T = t.TypeVar("T")


class RedisEngine:
    """
    :param connect: Makes a client; called again after an outage.
    :param name: Of this process, unlike any other's.
    :param namespace: Of the application: begins every key.
    :param clock: Seconds since the epoch.
    """

    native = False

    def __init__(
        self,
        connect: Callable[[], t.Any],
        name: str,
        process: Spawner,
        limits: Limits = UNLIMITED,
        *,
        namespace: str = "",
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._own: set[str] = set()
        self._server = Server(connect, namespace)
        self._keys = self._server.keys
        self.indexes = RedisIndexes(self._server)
        self._processes = RedisProcesses(self._server, name, ticks)
        self.following = RedisFollowing(self._server, name, process, connect)
        self.outbox = RedisOutbox(self._server, name, self._processes)
        self.retention = RedisRetention(self._server, name, limits, self._own, clock)
        self._pulse = Pulse(process, self._keys.beat(name), BEAT_MILLISECONDS)

    def is_outage(self, error: Exception) -> bool:
        return is_outage(error)

    def open(self, listener: Listener | None) -> None:
        self._server.open()
        if listener is not None:
            self.following.open(listener)

    def close(self) -> None:
        self._pulse.close()
        self.following.close()
        self._server.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        try:
            yield
        except FAULTS as fault:
            if "maxmemory" in str(fault):
                # Only deletions are allowed now. Later, the oldest runs may be those just saved.
                with contextlib.suppress(*FAULTS):
                    self.retention.drop_oldest()
            if is_wrong_type(fault) and self._server.remove_foreign(self._keys.types(self._name)):
                raise Repaired from fault
            raise

    def create(
        self,
        run: Run,
        batch: Batch,
        conditions: Conditions = UNCONDITIONAL,
    ) -> str:
        # Before its key is taken: a process that finds the key finds the run.
        self._put(run, batch)
        if (
            run.key is not None
            and (winner := self.indexes.claim_key(run, conditions.take_key)) != run.id
        ):
            self._undo(run, batch)
            return winner
        limit = conditions.owner_limit
        if limit is not None and not self.indexes.count(run, limit):
            self.indexes.release_key(run)
            self._undo(run, batch)
            raise TooManyRuns(limit)
        try:
            self.indexes.enter_chat(run, conditions.previous)
        except ChatBusy:
            self.indexes.release_key(run)
            if run.account is not None:
                self.indexes.remove(run.account, [run.id])
            self._undo(run, batch)
            raise
        self.indexes.add(run)
        return run.id

    def restore(self, run: Run, batch: Batch) -> bool:
        if not self._put(run, batch, restore=True):
            return False
        if run.key is not None:
            self.indexes.claim_key(run)
        self.indexes.add(run)
        return True

    def assign(self, run_id: str, epoch: int, *, adopt: bool) -> bool:
        return self._adopt(run_id, epoch) if adopt else self._release(run_id, epoch)

    def append(self, batches: Sequence[Batch]) -> Collection[str]:
        refused: list[str] = []
        for group in self._server.groups(batches, lambda batch: batch.run):
            lines = [
                f"{entry_id(it.first, it.epoch)} {entry_id(it.first + it.size, it.epoch)} {it.data}"
                for it in group
            ]
            places = self._server.run(
                APPEND, [self._keys.log(it.run) for it in group], ["\n".join(lines)]
            )
            refused += [group[place - 1].run for place in places]
        for batch in batches:
            if batch.keep:
                kept = entry_id(batch.keep + 1)
                self._server.redis.xtrim(self._keys.log(batch.run), minid=kept, approximate=False)
        self._own.difference_update(refused)
        return refused

    def end(self, end: End) -> bool | None:
        self.outbox.announce(end)
        claimant = end.claimant(self._name)
        reply = self._server.run(
            END,
            self._keys.both(end.run),
            (
                *(end.number, end.data, end.token, self.retention.keep, int(bool(end.log)) or ""),
                *(
                    "" if end.epoch is None else end.epoch,
                    int(claimant is not None) or "",
                    claimant or "",
                ),
            ),
        )
        if reply == 1:
            self._own.discard(end.run)
            self.retention.add(end.run)
        return None if reply < 0 else bool(reply)

    def load(self, run_id: str, after: int) -> Snapshot | None:
        try:
            return self._load(run_id, after)
        except UNREADABLE as error:
            if is_outage(error):
                raise
            raise RunUnreadable(run_id) from error

    def heartbeat(self, runs: Collection[Run]) -> None:
        self._processes.beat()
        self._pulse.ensure(self._server.redis)
        # One that another process has ended must not be entered again; one that is missing is restored.
        known = self.ended([run.id for run in runs])
        living = [run for run in runs if known.get(run.id) is False]
        if living:
            self._processes.repair([run.id for run in living])
            self.indexes.repair(living)

    def ended(self, run_ids: Collection[str]) -> dict[str, bool]:
        return self._server.ended(run_ids)

    def orphans(self) -> list[tuple[str, int]]:
        return self._processes.orphans()

    def _put(self, run: Run, batch: Batch, *, restore: bool = False) -> bool:
        process = self._name if batch.epoch else ""
        self._processes.enter(process, run.id)
        length = entry_id(batch.first + batch.size, batch.epoch)
        written = self._server.run(
            CREATE,
            self._keys.both(run.id),
            (
                *(about_of(run), process, batch.epoch, run.request),
                *(batch.first, length, batch.data, int(restore) or ""),
            ),
        )
        if process:
            self._own.add(run.id)
        return bool(written)

    def _undo(self, run: Run, batch: Batch) -> None:
        self._server.redis.delete(*self._keys.both(run.id))
        self._server.redis.srem(self._keys.runs(self._name if batch.epoch else ""), run.id)
        self._own.discard(run.id)

    def _adopt(self, run_id: str, epoch: int) -> bool:
        before = self._process_of(run_id)
        # Before it is this process's: a run always has a process that can be found dead.
        self._processes.enter(self._name, run_id)
        done = bool(self._server.run(ADOPT, self._keys.both(run_id), (self._name, epoch)))
        if not done and self._process_of(run_id) != self._name:
            self._server.redis.srem(self._keys.runs(self._name), run_id)
        if done:
            self._own.add(run_id)
        if done and before is not None and before != self._name:
            self._server.redis.srem(self._keys.runs(before), run_id)
            if before:
                self._server.redis.publish(self._keys.news(before), run_id)
        return done

    def _release(self, run_id: str, epoch: int) -> bool:
        self._processes.enter("", run_id)
        done = bool(self._server.run(RELEASE, (self._keys.meta(run_id),), (self._name, epoch)))
        self._server.redis.srem(self._keys.runs(self._name if done else ""), run_id)
        if done:
            self._own.discard(run_id)
        return done

    def _load(self, run_id: str, after: int) -> Snapshot | None:
        with self._server.redis.pipeline(transaction=False) as pipe:
            pipe.hmget(self._keys.meta(run_id), "run", "epoch", "request", "process", "token")
            pipe.exists(self._keys.log(run_id))
            pipe.xrange(self._keys.log(run_id), entry_id(after + 2), "+")
            (about, epoch, request, process, token), exists, entries = pipe.execute()
        # Where only one of the two is left, the server has evicted the other.
        if about is None or not exists:
            return None
        if process and token is None:
            self._processes.watch(process.decode())
        segments = [segment_of(key, fields).after(after) for key, fields in entries]
        return Snapshot(run_of(about, request or b""), segments, int(epoch))

    def _process_of(self, run_id: str) -> str | None:
        process = self._server.redis.hget(self._keys.meta(run_id), "process")
        return None if process is None else process.decode()
