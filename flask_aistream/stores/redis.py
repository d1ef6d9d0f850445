"""A Redis or Valkey server, for any number of machines.

A run is a stream: each entry holds neighbouring events, and its id ``<length + 1>-<epoch>`` says how long the
log is with it, and of which owner it is. An entry is written only where the log is as long as it expects:
one that is written twice, that comes after somebody else's end, or whose predecessors a restart or a
failover has lost, is refused. Who adopts a run adds an empty entry of the next epoch, so the last owner's
next one is refused too.
Pub/sub carries every entry to those who follow the run at that moment; what it loses is read from
the stream. Two connections a process: one writes and asks, one listens.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
import typing as t
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import asdict

from flask_aistream.core.run import Run
from flask_aistream.errors import TooManyRuns
from flask_aistream.stores.base import Process
from flask_aistream.stores.engine import BEAT_SECONDS
from flask_aistream.stores.engine import DEAD_SECONDS
from flask_aistream.stores.engine import Batch
from flask_aistream.stores.engine import Found
from flask_aistream.stores.engine import Length
from flask_aistream.stores.engine import Listener
from flask_aistream.stores.engine import Piece
from flask_aistream.stores.redis_carrier import Carrier
from flask_aistream.stores.redis_keys import BYTES
from flask_aistream.stores.redis_keys import ENDED
from flask_aistream.stores.redis_keys import PREFIX
from flask_aistream.stores.redis_keys import alias
from flask_aistream.stores.redis_keys import aliases
from flask_aistream.stores.redis_keys import beat_key
from flask_aistream.stores.redis_keys import entry_id
from flask_aistream.stores.redis_keys import log_key
from flask_aistream.stores.redis_keys import meta_key
from flask_aistream.stores.redis_keys import piece_of
from flask_aistream.stores.redis_scripts import ADOPT
from flask_aistream.stores.redis_scripts import APPEND
from flask_aistream.stores.redis_scripts import COUNT
from flask_aistream.stores.redis_scripts import CREATE
from flask_aistream.stores.redis_scripts import END
from flask_aistream.stores.redis_scripts import INHERIT
from flask_aistream.stores.redis_scripts import KEEP
from flask_aistream.stores.redis_scripts import RELEASE
from flask_aistream.stores.redis_scripts import RELINQUISH
from flask_aistream.stores.redis_scripts import SUM
from flask_aistream.stores.redis_scripts import TOLD

SPARE_SECONDS = 60.0

RUN_BYTES = 1000
"""What a run takes besides its log."""

FORGET = 64
"""Runs, of one go."""

OLDEST = (6, 2)
"""Trimming a stream by its ids came with it."""

WATCH_SECONDS = 2 * BEAT_SECONDS
"""Of ``DEAD_SECONDS``: so long others watch a heartbeat that is missing."""

GROUP = 100
"""Batches of one call: a script holds up everybody else's commands."""


class RedisEngine:
    """
    :param connect: Makes a client; called again after a fault.
    :param name: Of this process, unlike any other's.
    :param retain: Seconds a finished run is kept; ``None`` for ever.
    :param max_runs: Finished runs kept at most.
    :param max_events: Of one run, kept at most.
    :param log_bytes: Of one run, kept at most.
    :param store_bytes: Of all runs together, as the server counts them; ``None`` for any number.
    :param clock: Seconds since the epoch.
    """

    native = False

    def __init__(
        self,
        connect: Callable[[], t.Any],
        name: str,
        process: Process,
        *,
        retain: float | None = None,
        max_runs: int | None = None,
        max_events: int | None = None,
        log_bytes: int | None = None,
        store_bytes: int | None = None,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        import redis
        import redis.exceptions

        # Of a cluster that is not there the client says something that is no RedisError.
        self.faults: tuple[type[Exception], ...] = (
            redis.RedisError,
            redis.exceptions.RedisClusterException,
            OSError,
        )
        self._connect = connect
        self._name = name
        self._process = process
        self._retain = retain
        # Where no process is left to sweep, the server forgets by itself.
        self._keep = "" if retain is None else str(int((retain + SPARE_SECONDS) * 1000))
        self._clock = clock
        self._ticks = ticks
        self._missing: dict[str, float] = {}
        self._looked = 0.0
        self._untold: list[tuple[str, str]] = []
        self._ended_at = -math.inf
        self._max_runs = max_runs
        self._max_events = max_events
        self._log_bytes = log_bytes
        self._store_bytes = store_bytes
        self._lengths: dict[str, Length] = {}
        self._redis: t.Any = None
        self._short_of_memory = False
        self._carrier: Carrier | None = None

    def open(self, listener: Listener) -> None:
        if self._redis is None:
            self._redis = self._connect()
            self._append = self._redis.register_script(APPEND)
            self._create = self._redis.register_script(CREATE)
            self._adopt = self._redis.register_script(ADOPT)
            self._count = self._redis.register_script(COUNT)
            self._told = self._redis.register_script(TOLD)
            self._inherit = self._redis.register_script(INHERIT)
            self._relinquish = self._redis.register_script(RELINQUISH)
            self._end = self._redis.register_script(END)
            self._keep_alias = self._redis.register_script(KEEP)
            self._release = self._redis.register_script(RELEASE)
            self._sum = self._redis.register_script(SUM)
        self._redis.ping()
        self._check_version()
        if self._short_of_memory:
            # Deleting is all that is allowed now.
            self._drop(self._redis.zrange(ENDED, 0, FORGET - 1))
            self._short_of_memory = False
        if self._carrier is None:
            self._carrier = Carrier(
                self._connect(), self._channel(self._name), listener, self.faults
            )
            self._process.spawn(self._carrier.listen)

    def _check_version(self) -> None:
        import redis

        try:
            version = self._redis.info("server")["redis_version"]
        except redis.ResponseError:  # Not everyone may ask.
            return
        if tuple(map(int, version.split(".")[:2])) < OLDEST:
            raise redis.RedisError(f"it is Redis {version}, and the oldest that will do is 6.2")

    def close(self) -> None:
        if self._carrier is not None:
            self._carrier.close()
            with contextlib.suppress(*self.faults):
                self._wake_carrier()
        if self._redis is not None:
            self._redis.close()

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        try:
            yield
        except self.faults as fault:
            self._short_of_memory = "maxmemory" in str(fault)
            raise

    def create(self, run: Run, begin: Batch, most: int | None = None) -> str:
        # Before its key is taken: whoever finds the key finds the run.
        self._put(run, begin)
        if run.key is not None and (winner := self._claim(run)) != run.id:
            self._undo(run, begin)
            return winner
        if most is not None and not self._may_have(run, most):
            if run.key is not None:
                self._release((alias("key", run.key),), (run.id,))
            self._undo(run, begin)
            raise TooManyRuns(most)
        self._name_it(run)
        return run.id

    def restore(self, run: Run, everything: Batch) -> bool:
        if not self._put(run, everything, "anew"):
            return False
        if run.key is not None:
            self._claim(run)
        self._name_it(run)
        return True

    def adopt(self, run_id: str, epoch: int) -> bool:
        before = self._process_of(run_id)
        # Before it is ours: a run always has somebody who can be found dead.
        self._answer_for(self._name, run_id)
        done = bool(self._adopt((log_key(run_id), meta_key(run_id)), (self._name, epoch)))
        if not done and self._process_of(run_id) != self._name:
            self._redis.srem(self._runs(self._name), run_id)
        if done:
            self._measure(run_id, 0, self._redis.memory_usage(log_key(run_id)) or 0)
        if done and before is not None and before != self._name:
            self._redis.srem(self._runs(before), run_id)
            if before:
                self._redis.publish(self._channel(before), run_id)
        return done

    def release(self, run_id: str, epoch: int) -> bool:
        self._answer_for("", run_id)
        done = bool(self._relinquish((meta_key(run_id),), (self._name, epoch)))
        self._redis.srem(self._runs(self._name if done else ""), run_id)
        return done

    def write(self, batches: Sequence[Batch]) -> list[str]:
        refused: list[str] = []
        for group in self._groups(batches):
            lines = [
                f"{entry_id(first, epoch)} {entry_id(first + size, epoch)} {data}"
                for _, first, size, data, epoch in group
            ]
            places = self._append([log_key(batch.run) for batch in group], ["\n".join(lines)])
            refused += [group[place - 1].run for place in places]
            self._trim(group)
        return refused

    def end(
        self,
        run_id: str,
        number: int,
        data: str,
        token: str,
        *,
        exactly: bool,
        epoch: int | None,
        announced: bool,
    ) -> bool | None:
        keys = (log_key(run_id), meta_key(run_id))
        fence = "" if epoch is None else epoch
        teller = self._name if announced else ""
        if teller:
            self._answer_for(teller, run_id)
        said = self._end(keys, (number, data, token, self._keep, int(exactly) or "", fence, teller))
        if said == 1:
            self._forget(run_id, teller)
        return None if said < 0 else bool(said)

    def load(self, run_id: str, after: int) -> Found | None:
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.hmget(meta_key(run_id), "run", "epoch", "request", "process")
            pipe.exists(log_key(run_id))
            pipe.xrange(log_key(run_id), entry_id(after + 2), "+")
            (about, epoch, request, process), exists, entries = pipe.execute()
        # Where only one of the two is left, the server has dropped the other for want of memory.
        if about is None or not exists:
            return None
        pieces = [piece_of(key, fields).after(after) for key, fields in entries]
        run = Run(**json.loads(about), request=(request or b"").decode())
        found = Found(run, pieces, int(epoch))
        if found.ended or process != self._name.encode():
            self._lengths.pop(run_id, None)
        return found

    def follow(self, run_id: str, after: int) -> Sequence[Piece]:
        assert self._carrier is not None
        # Once the server has confirmed it, the listener is told to look.
        self._carrier.follow(log_key(run_id), run_id)
        self._wake_carrier()
        return ()

    def unfollow(self, run_id: str) -> None:
        if self._carrier is not None:
            self._carrier.unfollow(log_key(run_id))
            self._wake_carrier()

    rest = None

    def poll(self) -> None:
        """Pub/sub brings the news."""

    def followers(self, run_id: str) -> bool:
        return any(count for _, count in self._redis.pubsub_numsub(log_key(run_id)))

    def started(self, key: str) -> str | None:
        return self._named("key", key)

    def latest(self, chat: str) -> str | None:
        return self._named("chat", chat)

    def leave_chat(self, chat: str, run_id: str) -> None:
        self._release((alias("chat", chat),), (run_id,))

    def running(self, owner: str) -> int:
        return t.cast(int, self._redis.scard(alias("owner", owner)))

    def beat(self) -> None:
        self._beat(self._redis)

    def orphans(self) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        self._untold = []
        for name in (*self._dead(), ""):
            runs = [run_id.decode() for run_id in self._redis.smembers(self._runs(name))]
            if runs and name and self._redis.exists(beat_key(name)):
                continue  # It had nothing to look after, and has just begun to.
            # In one go: as many may wait in a queue as like, and this is done twice a second.
            with self._redis.pipeline(transaction=False) as pipe:
                for run_id in runs:
                    pipe.hmget(meta_key(run_id), "process", "epoch", "token", "teller")
                about = pipe.execute()
            for run_id, (process, epoch, token, teller) in zip(runs, about, strict=True):
                if process == name.encode() and token is None:
                    found.append((run_id, int(epoch)))
                elif teller in (name.encode(), self._name.encode()):
                    self._untold.append((run_id, name))
                elif teller is None:
                    self._redis.srem(self._runs(name), run_id)
            if not runs and name:
                self._redis.srem(f"{PREFIX}processes", name)
                self._redis.hdel(BYTES, f"@{name}")
                if self._redis.exists(beat_key(name)):  # It has begun something in this moment.
                    self._redis.sadd(f"{PREFIX}processes", name)
        return found

    def told(self, run_id: str) -> None:
        self._told((log_key(run_id), meta_key(run_id)), (self._name, self._keep))
        self._redis.srem(self._runs(self._name), run_id)

    def untold(self) -> list[str]:
        found: list[str] = []
        for run_id, dead in self._untold:
            self._answer_for(self._name, run_id)
            if self._inherit((meta_key(run_id),), (self._name, dead)):
                found.append(run_id)
                if self._redis.zscore(ENDED, run_id) is None:  # It died in the middle of that.
                    self._forget(run_id, dead)
        return found

    def _dead(self) -> list[str]:
        """Processes whose heartbeat has been missing for a while of our own: where the server stood
        still or its clock was put forward, everybody's is missing until they have beaten again."""
        now = self._ticks()
        if now - self._looked > DEAD_SECONDS / 2:
            self._missing.clear()
        self._looked = now
        names = [name.decode() for name in self._redis.smembers(f"{PREFIX}processes")]
        self._missing = {
            name: self._missing.get(name, now)
            for name in names
            if name != self._name and not self._redis.exists(beat_key(name))
        }
        return [name for name, since in self._missing.items() if now - since >= WATCH_SECONDS]

    def sweep(self) -> bool:
        forgotten: set[bytes] = set()
        if self._retain is not None:
            forgotten.update(self._redis.zrangebyscore(ENDED, "-inf", self._clock() - self._retain))
        if self._max_runs is not None:
            forgotten.update(self._redis.zrange(ENDED, 0, -self._max_runs - 1))
        self._drop(forgotten)
        return self._store_bytes is not None and self._is_full(self._store_bytes)

    def _is_full(self, most: int) -> bool:
        """Forget more, if need be, and the oldest first.

        :returns: It was not enough.
        """
        mine = f"@{self._name}"
        if living := self._living():
            self._redis.hset(BYTES, mine, living)
        else:  # Nobody else clears away what a process left that never had a run.
            self._redis.hdel(BYTES, mine)
        surplus = self._sum((BYTES,)) - most
        while surplus > 0:
            oldest = self._redis.zrange(ENDED, 0, FORGET - 1)
            sizes = self._redis.hmget(BYTES, oldest) if oldest else []
            if not self._drop(oldest):
                return True
            surplus -= sum(int(size or 0) for size in sizes)
        return False

    def _living(self) -> int:
        """Bytes of the living runs of this process."""
        with self._redis.pipeline(transaction=False) as pipe:
            for run_id in self._lengths:
                pipe.memory_usage(log_key(run_id))
            return sum(size or 0 for size in pipe.execute())

    def _drop(self, forgotten: Collection[bytes]) -> bool:
        """
        :returns: Whether there were any but those that nobody has been told of yet.
        """
        with self._redis.pipeline(transaction=False) as pipe:
            names = [name.decode() for name in forgotten]
            for name in names:
                pipe.hmget(meta_key(name), "run", "teller")
            known = zip(names, pipe.execute(), strict=True)
        abouts = {name: about for name, (about, teller) in known if teller is None}
        if not abouts:
            return False
        run_ids = list(abouts)
        for run_id, about in abouts.items():
            if about is not None:
                for key in aliases(Run(**json.loads(about))):
                    self._release((key,), (run_id,))
        with self._redis.pipeline(transaction=False) as pipe:
            for run_id in run_ids:
                # A cluster's pipeline deletes one at a time.
                pipe.delete(log_key(run_id))
                pipe.delete(meta_key(run_id))
            pipe.zrem(ENDED, *run_ids)
            pipe.hdel(BYTES, *run_ids)
            pipe.execute()
        return True

    def _named(self, kind: str, value: str) -> str | None:
        found = self._redis.get(alias(kind, value))
        if found is None or not self._redis.exists(meta_key(found.decode())):
            return None
        return t.cast(str, found.decode())

    def _put(self, run: Run, begin: Batch, anew: str = "") -> bool:
        process = self._name if begin.epoch else ""
        self._answer_for(process, run.id)
        if process:
            self._measure(run.id, begin.first, len(begin.data))
        about = asdict(run)
        request = about.pop("request")
        length = entry_id(begin.first + begin.size, begin.epoch)
        said = self._create(
            (log_key(run.id), meta_key(run.id)),
            (
                *(json.dumps(about), process, begin.epoch, request),
                *(begin.first, length, begin.data, anew),
            ),
        )
        return bool(said)

    def _may_have(self, run: Run, most: int) -> bool:
        """Count the run among its owner's, unless they have so many."""
        if run.owner is None:
            return True
        return bool(self._count((alias("owner", run.owner),), (run.id, most)))

    def _undo(self, run: Run, begin: Batch) -> None:
        self._redis.delete(log_key(run.id), meta_key(run.id))
        self._lengths.pop(run.id, None)
        self._redis.srem(self._runs(self._name if begin.epoch else ""), run.id)

    def _process_of(self, run_id: str) -> str | None:
        process = self._redis.hget(meta_key(run_id), "process")
        return None if process is None else process.decode()

    def _answer_for(self, process: str, run_id: str) -> None:
        """Note that a process, or none, is to look after a run."""
        with self._redis.pipeline(transaction=False) as pipe:
            if process:
                self._beat(pipe)
                pipe.sadd(f"{PREFIX}processes", process)
            pipe.sadd(self._runs(process), run_id)
            pipe.execute()

    def _name_it(self, run: Run) -> None:
        with self._redis.pipeline(transaction=False) as pipe:
            if run.owner is not None:
                pipe.sadd(alias("owner", run.owner), run.id)
            if run.chat is not None:
                pipe.set(alias("chat", run.chat), run.id)
            pipe.execute()

    def _claim(self, run: Run) -> str:
        """:returns: Id of the run that has the key."""
        key = alias("key", t.cast(str, run.key))
        while not self._redis.set(key, run.id, nx=True):
            found = self._redis.get(key)
            winner = found.decode() if found is not None else ""
            if winner == run.id or self._redis.exists(meta_key(winner)):
                return t.cast(str, winner)
            self._release((key,), (winner,))  # That run was forgotten.
        return run.id

    def _forget(self, run_id: str, teller: str) -> None:
        """A run has ended: nobody has to look after it any more, but who is to announce it, if any."""
        self._lengths.pop(run_id, None)
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.hmget(meta_key(run_id), "run", "process")
            pipe.memory_usage(log_key(run_id))
            (about, owner), size = pipe.execute()
        if about is None:
            return
        run, name = Run(**json.loads(about)), owner.decode()
        with self._redis.pipeline(transaction=False) as pipe:
            if name != teller:
                pipe.srem(self._runs(name), run_id)
            if run.owner is not None:
                pipe.srem(alias("owner", run.owner), run_id)
            # Two that end in one moment keep their order.
            self._ended_at = max(self._clock(), self._ended_at + 1e-6)
            pipe.zadd(ENDED, {run_id: self._ended_at})
            pipe.hset(BYTES, run_id, (size or 0) + RUN_BYTES)
            pipe.execute()
        # A cluster's pipeline takes neither a script nor PUBLISH.
        if self._keep:
            for key in aliases(run):
                self._keep_alias((key,), (run_id, self._keep))
        if name not in ("", self._name):
            self._redis.publish(self._channel(name), run_id)

    def _trim(self, batches: Sequence[Batch]) -> None:
        for run_id, first, _, data, _ in batches:
            length = self._lengths.get(run_id)
            least = length.add(first, len(data)) if length else None
            if least is not None:
                kept = entry_id(least + 1)
                self._redis.xtrim(log_key(run_id), minid=kept, approximate=False)

    def _measure(self, run_id: str, first: int, size: int) -> None:
        """Begin to, of a run that is in the store."""
        self._lengths[run_id] = Length(self._max_events, self._log_bytes)
        self._lengths[run_id].add(first, size)

    def _groups(self, batches: Sequence[Batch]) -> list[Sequence[Batch]]:
        slot = getattr(self._redis, "keyslot", None)
        if slot is None:
            return [batches[at : at + GROUP] for at in range(0, len(batches), GROUP)]
        # In a cluster, one script may only touch what lies together.
        groups: dict[int, list[Batch]] = {}
        for batch in batches:
            groups.setdefault(slot(log_key(batch.run)), []).append(batch)
        return list(groups.values())

    def _beat(self, client: t.Any) -> None:
        client.set(beat_key(self._name), 1, px=int((DEAD_SECONDS - WATCH_SECONDS) * 1000))

    def _wake_carrier(self) -> None:
        assert self._carrier is not None
        self._redis.publish(self._carrier.own, b"")

    def _runs(self, name: str) -> str:
        return f"{PREFIX}process:{name}:runs"

    def _channel(self, name: str) -> str:
        return f"{PREFIX}process:{name}:ended"
