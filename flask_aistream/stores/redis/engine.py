"""The contract of an engine, kept in Redis.

A run is a stream: each entry holds neighbouring events, and its id ``<length + 1>-<epoch>`` says how long the
log is with it, and of which owner it is. An entry is written only where the log is as long as it expects:
one that is written twice, that comes after somebody else's end, or whose predecessors a restart or a
failover has lost, is refused. Who adopts a run adds an empty entry of the next epoch, so the last owner's
next one is refused too.
Pub/sub carries every entry to those who follow the run at that moment; what it loses is read from
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
from flask_aistream.errors import RunUnreadable
from flask_aistream.errors import TooManyRuns
from flask_aistream.stores.limits import UNLIMITED
from flask_aistream.stores.limits import Limits
from flask_aistream.stores.redis.indexes import Indexes
from flask_aistream.stores.redis.keys import about_of
from flask_aistream.stores.redis.keys import beat_key
from flask_aistream.stores.redis.keys import entry_id
from flask_aistream.stores.redis.keys import log_key
from flask_aistream.stores.redis.keys import meta_key
from flask_aistream.stores.redis.keys import news_of
from flask_aistream.stores.redis.keys import piece_of
from flask_aistream.stores.redis.keys import run_of
from flask_aistream.stores.redis.keys import runs_of
from flask_aistream.stores.redis.lengths import Lengths
from flask_aistream.stores.redis.processes import BEAT_MILLISECONDS
from flask_aistream.stores.redis.processes import Processes
from flask_aistream.stores.redis.pulse import Pulse
from flask_aistream.stores.redis.retention import Retention
from flask_aistream.stores.redis.scripts import ADOPT
from flask_aistream.stores.redis.scripts import APPEND
from flask_aistream.stores.redis.scripts import CREATE
from flask_aistream.stores.redis.scripts import END
from flask_aistream.stores.redis.scripts import RELINQUISH
from flask_aistream.stores.redis.server import FAULTS
from flask_aistream.stores.redis.server import Server
from flask_aistream.stores.redis.server import is_outage
from flask_aistream.stores.redis.subscriber import Subscriber
from flask_aistream.stores.shared.engine import Batch
from flask_aistream.stores.shared.engine import End
from flask_aistream.stores.shared.engine import Listener
from flask_aistream.stores.shared.engine import Segment
from flask_aistream.stores.shared.engine import Snapshot
from flask_aistream.timing.concurrency import Spawner

UNREADABLE = (redis.ResponseError, LookupError, TypeError, ValueError)
"""What reading a key raises that something else has written."""

GROUP = 100
"""Batches of one call: a script holds up everybody else's commands."""


class RedisEngine:
    """
    :param connect: Makes a client; called again after a fault.
    :param name: Of this process, unlike any other's.
    :param clock: Seconds since the epoch.
    """

    native = False
    rest = None

    def __init__(
        self,
        connect: Callable[[], t.Any],
        name: str,
        process: Spawner,
        bounds: Limits = UNLIMITED,
        *,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._process = process
        self._connect = connect
        self._carrier: Subscriber | None = None
        self._server = Server(connect)
        self._lengths = Lengths(self._server, bounds)
        self._names = Indexes(self._server)
        self._finished = Retention(self._server, name, self._lengths, bounds, clock)
        self._processes = Processes(self._server, name, self._finished, ticks)
        self._pulse = Pulse(process, beat_key(name), BEAT_MILLISECONDS)

    def open(self, listener: Listener) -> None:
        self._server.open()
        if self._carrier is None:
            self._carrier = Subscriber(self._connect(), news_of(self._name), listener, FAULTS)
            self._process.spawn(self._carrier.listen)

    def close(self) -> None:
        self._pulse.close()
        if self._carrier is not None:
            self._carrier.close()
            with contextlib.suppress(*FAULTS):
                self._wake_carrier()
        self._server.close()

    def is_outage(self, error: Exception) -> bool:
        return is_outage(error)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        try:
            yield
        except FAULTS as fault:
            if "maxmemory" in str(fault):
                # Deleting is all that is allowed now. Later it might be what another process has just saved.
                with contextlib.suppress(*FAULTS):
                    self._finished.forget_oldest()
            raise

    def create(self, run: Run, begin: Batch, most: int | None = None) -> str:
        # Before its key is taken: whoever finds the key finds the run.
        self._put(run, begin)
        if run.key is not None and (winner := self._names.claim(run)) != run.id:
            self._undo(run, begin)
            return winner
        if most is not None and not self._names.may_have(run, most):
            self._names.disclaim(run)
            self._undo(run, begin)
            raise TooManyRuns(most)
        self._names.give(run)
        return run.id

    def restore(self, run: Run, everything: Batch) -> bool:
        if not self._put(run, everything, "anew"):
            return False
        if run.key is not None:
            self._names.claim(run)
        self._names.give(run)
        return True

    def adopt(self, run_id: str, epoch: int) -> bool:
        before = self._process_of(run_id)
        # Before it is ours: a run always has somebody who can be found dead.
        self._processes.answer_for(self._name, run_id)
        done = bool(
            self._server.run(ADOPT, (log_key(run_id), meta_key(run_id)), (self._name, epoch))
        )
        if not done and self._process_of(run_id) != self._name:
            self._server.redis.srem(runs_of(self._name), run_id)
        if done:
            self._lengths.begin(run_id, 0, self._server.redis.memory_usage(log_key(run_id)) or 0)
        if done and before is not None and before != self._name:
            self._server.redis.srem(runs_of(before), run_id)
            if before:
                self._server.redis.publish(news_of(before), run_id)
        return done

    def release(self, run_id: str, epoch: int) -> bool:
        self._processes.answer_for("", run_id)
        done = bool(self._server.run(RELINQUISH, (meta_key(run_id),), (self._name, epoch)))
        self._server.redis.srem(runs_of(self._name if done else ""), run_id)
        return done

    def write(self, batches: Sequence[Batch]) -> list[str]:
        refused: list[str] = []
        for group in self._groups(batches):
            lines = [
                f"{entry_id(first, epoch)} {entry_id(first + size, epoch)} {data}"
                for _, first, size, data, epoch in group
            ]
            places = self._server.run(
                APPEND, [log_key(batch.run) for batch in group], ["\n".join(lines)]
            )
            refused += [group[place - 1].run for place in places]
            self._lengths.add(group)
        return refused

    def end(self, end: End) -> bool | None:
        teller = self._name if end.announced else ""
        if teller:
            self._processes.answer_for(teller, end.run)
        said = self._server.run(
            END,
            (log_key(end.run), meta_key(end.run)),
            (
                *(end.number, end.data, end.token, self._finished.keep, int(end.exactly) or ""),
                *("" if end.epoch is None else end.epoch, teller),
            ),
        )
        if said == 1:
            self._finished.add(end.run, teller)
        return None if said < 0 else bool(said)

    def load(self, run_id: str, after: int) -> Snapshot | None:
        try:
            return self._load(run_id, after)
        except UNREADABLE as error:
            if is_outage(error):
                raise
            raise RunUnreadable(run_id) from error

    def _load(self, run_id: str, after: int) -> Snapshot | None:
        with self._server.redis.pipeline(transaction=False) as pipe:
            pipe.hmget(meta_key(run_id), "run", "epoch", "request", "process")
            pipe.exists(log_key(run_id))
            pipe.xrange(log_key(run_id), entry_id(after + 2), "+")
            (about, epoch, request, process), exists, entries = pipe.execute()
        # Where only one of the two is left, the server has dropped the other for want of memory.
        if about is None or not exists:
            return None
        pieces = [piece_of(key, fields).after(after) for key, fields in entries]
        found = Snapshot(run_of(about, request or b""), pieces, int(epoch))
        if found.ended or process != self._name.encode():
            self._lengths.drop(run_id)
        return found

    def follow(self, run_id: str, after: int) -> Sequence[Segment]:
        assert self._carrier is not None
        # Once the server has confirmed it, the listener is told to look.
        self._carrier.follow(log_key(run_id), run_id)
        self._wake_carrier()
        return ()

    def unfollow(self, run_id: str) -> None:
        if self._carrier is not None:
            self._carrier.unfollow(log_key(run_id))
            self._wake_carrier()

    def missing(self, run_ids: Collection[str]) -> set[str]:
        with self._server.redis.pipeline(transaction=False) as pipe:
            for run_id in run_ids:
                # A cluster's pipeline asks for one at a time.
                pipe.exists(meta_key(run_id))
                pipe.exists(log_key(run_id))
            found = iter(pipe.execute())
        return {run_id for run_id in run_ids if not min(next(found), next(found))}

    def repair(self, runs: Sequence[Run]) -> set[str]:
        self._processes.repair([run.id for run in runs])
        self._names.repair(runs)
        return self.missing([run.id for run in runs])

    def forget(self, run_id: str) -> None:
        self._lengths.drop(run_id)

    def poll(self) -> None:
        """Pub/sub brings the news."""

    def followers(self, run_id: str) -> bool:
        return any(count for _, count in self._server.redis.pubsub_numsub(log_key(run_id)))

    def started(self, key: str) -> str | None:
        return self._names.started(key)

    def latest(self, chat: str) -> str | None:
        return self._names.latest(chat)

    def leave_chat(self, chat: str, run_id: str) -> None:
        self._names.leave_chat(chat, run_id)

    def running(self, owner: str) -> int:
        return self._names.running(owner)

    def beat(self) -> None:
        self._processes.beat()
        self._pulse.ensure(self._server.redis)

    def orphans(self) -> list[tuple[str, int]]:
        return self._processes.orphans()

    def told(self, run_id: str) -> None:
        self._processes.told(run_id)

    def untold(self, doubtful: Collection[str]) -> list[str]:
        return self._processes.untold(doubtful)

    def sweep(self) -> bool:
        return self._finished.sweep()

    def _put(self, run: Run, begin: Batch, anew: str = "") -> bool:
        process = self._name if begin.epoch else ""
        self._processes.answer_for(process, run.id)
        if process:
            self._lengths.begin(run.id, begin.first, len(begin.data))
        about, request = about_of(run), run.request
        length = entry_id(begin.first + begin.size, begin.epoch)
        said = self._server.run(
            CREATE,
            (log_key(run.id), meta_key(run.id)),
            (
                *(about, process, begin.epoch, request),
                *(begin.first, length, begin.data, anew),
            ),
        )
        return bool(said)

    def _undo(self, run: Run, begin: Batch) -> None:
        self._server.redis.delete(log_key(run.id), meta_key(run.id))
        self._lengths.drop(run.id)
        self._server.redis.srem(runs_of(self._name if begin.epoch else ""), run.id)

    def _process_of(self, run_id: str) -> str | None:
        process = self._server.redis.hget(meta_key(run_id), "process")
        return None if process is None else process.decode()

    def _groups(self, batches: Sequence[Batch]) -> list[Sequence[Batch]]:
        slot = getattr(self._server.redis, "keyslot", None)
        if slot is None:
            return [batches[at : at + GROUP] for at in range(0, len(batches), GROUP)]
        # In a cluster, one script may only touch what lies together.
        groups: dict[int, list[Batch]] = {}
        for batch in batches:
            groups.setdefault(slot(log_key(batch.run)), []).append(batch)
        return list(groups.values())

    def _wake_carrier(self) -> None:
        assert self._carrier is not None
        self._server.redis.publish(self._carrier.own, b"")
