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
from functools import wraps

import redis

from flask_aistream.core.run import Run
from flask_aistream.errors import ChatBusy
from flask_aistream.errors import RunUnreadable
from flask_aistream.errors import TooManyRuns
from flask_aistream.stores.limits import UNLIMITED
from flask_aistream.stores.limits import Limits
from flask_aistream.stores.redis.indexes import Indexes
from flask_aistream.stores.redis.keys import about_of
from flask_aistream.stores.redis.keys import entry_id
from flask_aistream.stores.redis.keys import run_of
from flask_aistream.stores.redis.keys import segment_of
from flask_aistream.stores.redis.outbox import Outbox
from flask_aistream.stores.redis.processes import BEAT_MILLISECONDS
from flask_aistream.stores.redis.processes import Processes
from flask_aistream.stores.redis.pulse import Pulse
from flask_aistream.stores.redis.retention import Retention
from flask_aistream.stores.redis.scripts import ADOPT
from flask_aistream.stores.redis.scripts import APPEND
from flask_aistream.stores.redis.scripts import CREATE
from flask_aistream.stores.redis.scripts import END
from flask_aistream.stores.redis.scripts import RELEASE
from flask_aistream.stores.redis.scripts import STATES
from flask_aistream.stores.redis.server import FAULTS
from flask_aistream.stores.redis.server import Server
from flask_aistream.stores.redis.server import is_outage
from flask_aistream.stores.redis.server import is_wrong_type
from flask_aistream.stores.redis.subscriber import Subscriber
from flask_aistream.stores.shared.engine import Batch
from flask_aistream.stores.shared.engine import End
from flask_aistream.stores.shared.engine import Listener
from flask_aistream.stores.shared.engine import Name
from flask_aistream.stores.shared.engine import Snapshot
from flask_aistream.timing.concurrency import Spawner

GROUP = 100
"""Runs of one script call: a script holds up every other command."""

UNREADABLE = (redis.ResponseError, LookupError, TypeError, ValueError)
"""What reading a key raises that another program has written."""

T = t.TypeVar("T")
P = t.ParamSpec("P")


def healing(
    method: Callable[t.Concatenate[RedisEngine, P], T],
) -> Callable[t.Concatenate[RedisEngine, P], T]:
    """Where a key has a value of another type, delete that and call the method again: the heartbeats write these
    keys again."""

    @wraps(method)
    def heal(engine: RedisEngine, /, *args: P.args, **options: P.kwargs) -> T:
        try:
            return method(engine, *args, **options)
        except redis.ResponseError as error:
            run = next((it for it in args if isinstance(it, Run)), None)
            if not is_wrong_type(error) or not engine.remove_foreign(run):
                raise
        return method(engine, *args, **options)

    return heal


class RedisEngine:
    """
    :param connect: Makes a client; called again after an outage.
    :param name: Of this process, unlike any other's.
    :param namespace: Of the application: begins every key.
    :param clock: Seconds since the epoch.
    """

    native = False
    rest = None

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
        self._process = process
        self._connect = connect
        self._own: set[str] = set()
        self._followed: set[str] = set()
        self._subscriber: Subscriber | None = None
        self._server = Server(connect, namespace)
        self._keys = self._server.keys
        self._indexes = Indexes(self._server)
        self._processes = Processes(self._server, name, ticks)
        self._outbox = Outbox(self._server, name, self._processes)
        self._retention = Retention(self._server, name, limits, clock)
        self._pulse = Pulse(process, self._keys.beat(name), BEAT_MILLISECONDS)

    def is_outage(self, error: Exception) -> bool:
        return is_outage(error)

    def open(self, listener: Listener | None) -> None:
        self._server.open()
        if self._subscriber is None and listener is not None:
            self._subscriber = Subscriber(
                self._connect(), self._keys.news(self._name), listener, FAULTS
            )
            self._process.spawn(self._subscriber.listen)

    def close(self) -> None:
        self._pulse.close()
        if self._subscriber is not None:
            self._subscriber.close()
            with contextlib.suppress(*FAULTS):
                self._wake_subscriber()
        self._server.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        try:
            yield
        except FAULTS as fault:
            if "maxmemory" in str(fault):
                # Only deletions are allowed now. Later, the oldest runs may be those just saved.
                with contextlib.suppress(*FAULTS):
                    self._retention.drop_oldest()
            raise

    @healing
    def create(
        self,
        run: Run,
        batch: Batch,
        most: int | None = None,
        take_key: bool = False,
        previous: str | None = None,
    ) -> str:
        # Before its key is taken: a process that finds the key finds the run.
        self._put(run, batch)
        if run.key is not None and (winner := self._indexes.claim_key(run, take_key)) != run.id:
            self._undo(run, batch)
            return winner
        if most is not None and not self._count(run, most):
            self._indexes.release_key(run)
            self._undo(run, batch)
            raise TooManyRuns(most)
        try:
            self._enter_chat(run, previous)
        except ChatBusy:
            self._indexes.release_key(run)
            if run.owner is not None:
                self._indexes.remove(run.owner, [run.id])
            self._undo(run, batch)
            raise
        self._indexes.add(run)
        return run.id

    @healing
    def restore(self, run: Run, batch: Batch) -> bool:
        if not self._put(run, batch, "anew"):
            return False
        if run.key is not None:
            self._indexes.claim_key(run)
        self._indexes.add(run)
        return True

    @healing
    def assign(self, run_id: str, epoch: int, *, adopt: bool) -> bool:
        return self._adopt(run_id, epoch) if adopt else self._release(run_id, epoch)

    def append(self, batches: Sequence[Batch]) -> Collection[str]:
        refused: list[str] = []
        for group in self._groups(batches, lambda batch: batch.run):
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

    @healing
    def end(self, end: End) -> bool | None:
        self._outbox.announce(end)
        reply = self._server.run(
            END,
            self._keys.both(end.run),
            (
                *(end.number, end.data, end.token, self._retention.keep, int(bool(end.log)) or ""),
                *("" if end.epoch is None else end.epoch, *self._outbox.arguments(end)),
            ),
        )
        if reply == 1:
            self._own.discard(end.run)
            self._retention.add(end.run)
        return None if reply < 0 else bool(reply)

    def load(self, run_id: str, after: int) -> Snapshot | None:
        try:
            return self._load(run_id, after)
        except UNREADABLE as error:
            if is_outage(error):
                raise
            raise RunUnreadable(run_id) from error

    def follow(self, run_ids: Collection[str]) -> None:
        assert self._subscriber is not None
        wanted = set(run_ids)
        # Once the server has confirmed it, the engine reports the run to its listener as stale.
        for run_id in wanted - self._followed:
            self._subscriber.follow(self._keys.log(run_id), run_id)
        for run_id in self._followed - wanted:
            self._subscriber.unfollow(self._keys.log(run_id))
        self._followed = wanted
        self._wake_subscriber()

    def followed(self, run_id: str) -> bool:
        return any(count for _, count in self._server.redis.pubsub_numsub(self._keys.log(run_id)))

    def poll(self) -> None:
        """Pub/sub brings the news."""

    @healing
    def find(self, kind: Name, value: str) -> list[str]:
        found = self._indexes.find(kind, value)
        if kind in ("chat-runs", "chat-live"):
            return self._chat_runs(value, found, live=kind == "chat-live")
        return found

    @healing
    def drop(self, run_id: str) -> bool:
        return self._retention.drop(run_id)

    @healing
    def leave_chat(self, chat: str, run_id: str) -> None:
        self._indexes.leave_chat(chat, run_id)

    @healing
    def heartbeat(self, runs: Collection[Run]) -> None:
        self._processes.beat()
        self._pulse.ensure(self._server.redis)
        # One that another process has ended must not be entered again; one that is missing is restored.
        known = self.ended([run.id for run in runs])
        living = [run for run in runs if known.get(run.id) is False]
        if living:
            self._processes.repair([run.id for run in living])
            self._indexes.repair(living)

    def ended(self, run_ids: Collection[str]) -> dict[str, bool]:
        found: dict[str, bool] = {}
        for group in self._groups(list(run_ids), lambda run_id: run_id):
            keys = [key for run_id in group for key in self._keys.both(run_id)]
            states = zip(group, self._server.run(STATES, keys), strict=True)
            found |= {run_id: bool(state) for run_id, state in states if state >= 0}
        return found

    @healing
    def orphans(self) -> list[tuple[str, int]]:
        return self._processes.orphans()

    @healing
    def claim(self, busy: Collection[str]) -> list[tuple[str, int]]:
        return self._outbox.claim(busy)

    @healing
    def delivered(self, run_id: str) -> None:
        self._outbox.delivered(run_id)

    @healing
    def undelivered(self, run_ids: Collection[str]) -> Collection[str]:
        return self._outbox.undelivered(run_ids)

    @healing
    def sweep(self) -> bool:
        return self._retention.sweep(self._own)

    def remove_foreign(self, run: Run | None) -> bool:
        """Delete what another program has put into keys of this process, and of a run."""
        return self._server.remove_foreign(self._keys.types(self._name, run))

    def _put(self, run: Run, batch: Batch, anew: str = "") -> bool:
        process = self._name if batch.epoch else ""
        self._processes.enter(process, run.id)
        length = entry_id(batch.first + batch.size, batch.epoch)
        written = self._server.run(
            CREATE,
            self._keys.both(run.id),
            (
                *(about_of(run), process, batch.epoch, run.request),
                *(batch.first, length, batch.data, anew),
            ),
        )
        if process:
            self._own.add(run.id)
        return bool(written)

    def _count(self, run: Run, most: int) -> bool:
        """Enter the run among its owner's, unless these are ``most`` already."""
        if run.account is None or self._indexes.count(run, most):
            return True
        known = self._indexes.living(run.account)
        over = [run_id for run_id in known if self.ended([run_id]).get(run_id) is not False]
        self._indexes.remove(run.account, over)
        return self._indexes.count(run, most)

    def _enter_chat(self, run: Run, previous: str | None) -> None:
        if previous and run.chat is not None and not self.ended([previous]).get(previous, True):
            raise ChatBusy(previous)
        self._indexes.enter_chat(run, previous)

    def _chat_runs(self, chat: str, run_ids: Sequence[str], *, live: bool) -> list[str]:
        """Those runs of a chat that were not dropped; the others are removed from it."""
        known = self.ended(run_ids)
        self._indexes.leave_chat_runs(chat, [run_id for run_id in run_ids if run_id not in known])
        return [run_id for run_id in run_ids if run_id in known and not (live and known[run_id])]

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
            pipe.hmget(self._keys.meta(run_id), "run", "epoch", "request")
            pipe.exists(self._keys.log(run_id))
            pipe.xrange(self._keys.log(run_id), entry_id(after + 2), "+")
            (about, epoch, request), exists, entries = pipe.execute()
        # Where only one of the two is left, the server has evicted the other.
        if about is None or not exists:
            return None
        segments = [segment_of(key, fields).after(after) for key, fields in entries]
        return Snapshot(run_of(about, request or b""), segments, int(epoch))

    def _process_of(self, run_id: str) -> str | None:
        process = self._server.redis.hget(self._keys.meta(run_id), "process")
        return None if process is None else process.decode()

    def _groups(self, items: Sequence[T], run: Callable[[T], str]) -> list[Sequence[T]]:
        slot = getattr(self._server.redis, "keyslot", None)
        if slot is None:
            return [items[at : at + GROUP] for at in range(0, len(items), GROUP)]
        # In a cluster, one script may only touch keys of one slot.
        groups: dict[int, list[T]] = {}
        for item in items:
            groups.setdefault(slot(self._keys.log(run(item))), []).append(item)
        return list(groups.values())

    def _wake_subscriber(self) -> None:
        assert self._subscriber is not None
        self._server.redis.publish(self._subscriber.own, b"")
