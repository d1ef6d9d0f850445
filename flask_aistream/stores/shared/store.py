"""A store whose logs several processes share."""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Sequence

from flask_aistream.core.cursor import BEGINNING
from flask_aistream.core.events import Event
from flask_aistream.core.run import Run
from flask_aistream.errors import RunNotFound
from flask_aistream.errors import RunUnreadable
from flask_aistream.errors import StoreFull
from flask_aistream.errors import StoreUnavailable
from flask_aistream.stores.base import UNCONDITIONAL
from flask_aistream.stores.base import Conditions
from flask_aistream.stores.base import Orphan
from flask_aistream.stores.base import OutboxRow
from flask_aistream.stores.limits import UNLIMITED
from flask_aistream.stores.limits import Limits
from flask_aistream.stores.shared.engine import Batch
from flask_aistream.stores.shared.engine import Engine
from flask_aistream.stores.shared.engine import Name
from flask_aistream.stores.shared.engine import Segment
from flask_aistream.stores.shared.engine import Snapshot
from flask_aistream.stores.shared.replica import EndedRun
from flask_aistream.stores.shared.replica import ReplicaLog
from flask_aistream.stores.shared.writer import Job
from flask_aistream.stores.shared.writer import Writer
from flask_aistream.timing.concurrency import Spawner

REMEMBER_SECONDS = 60.0
REMEMBER_RUNS = 256
REMEMBER_BYTES = 64 * 1024**2
"""Ends that a process writes again if the database is rolled back: none older than this, at most this many, and of so many
bytes with their requests and logs."""


class SharedStore:
    """
    :param patience: Seconds the database may be unavailable before living runs fail.
    :param limits: Limits of the records kept in this process; see ``LogBuffer``.
    """

    shared = True

    def __init__(
        self,
        engine: Engine,
        process: Spawner,
        *,
        patience: float,
        limits: Limits = UNLIMITED,
        clock: Callable[[], float] = time.monotonic,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self.process = process
        self._limits = limits
        self._full = False
        self._patience = patience
        self._clock = clock
        self._own: dict[str, ReplicaLog] = {}
        self._logs: weakref.WeakValueDictionary[str, ReplicaLog] = weakref.WeakValueDictionary()
        self._following: set[str] = set()
        self._queued: dict[str, float] = {}
        self._missing: dict[str, float] = {}
        self._claimed: set[str] = set()
        self._ended: dict[str, tuple[float, EndedRun]] = {}
        self._lock = threading.Lock()
        self.writer = Writer(engine, process, self, self, patience=patience, clock=ticks)

    # The contract of a store.

    def create(
        self,
        run: Run,
        first: Sequence[Event],
        *,
        owned: bool = True,
        conditions: Conditions = UNCONDITIONAL,
    ) -> tuple[ReplicaLog, bool]:
        if self._full:
            raise StoreFull
        log = self._log(run, int(owned))
        batch = Batch.of(run.id, 0, first, log.epoch)

        def begin(winner: str) -> None:
            if winner == run.id:
                self._add(log, first, owned)

        # No other process would continue it for as long as this one lives.
        release = Job(lambda engine: engine.assign(run.id, 1, adopt=False), log.released)
        while True:
            winner = self.writer.ask(
                lambda engine: engine.create(run, batch, conditions),
                begin,
                release if owned else None,
            )
            if winner == run.id:
                return log, True
            try:
                return self.open(winner), False
            except RunNotFound:  # Dropped in between, and its key with it.
                continue

    def adopt(self, run_id: str, epoch: int = 0) -> ReplicaLog | None:
        known = self._living(run_id)
        if known is not None and known.owned:
            return None
        after = known.tail if known is not None else BEGINNING
        adopted: list[ReplicaLog] = []

        def assign(engine: Engine) -> Snapshot | None:
            return engine.load(run_id, after) if engine.assign(run_id, epoch, adopt=True) else None

        def begin(snapshot: Snapshot | None) -> None:
            if snapshot is None:
                return
            log = known or self._living(run_id) or self._log(snapshot.run, snapshot.epoch)
            log.apply(snapshot.segments, whole=True)
            if not log.owned:  # By another caller here.
                log.own(snapshot.epoch)
                self._add(log, (), True)
                self._unfollow(run_id)
                adopted.append(log)

        def released(done: bool) -> None:
            for log in adopted:
                log.released(done)

        release = Job(lambda engine: engine.assign(run_id, epoch + 1, adopt=False), released)
        self.writer.ask(assign, begin, release)
        return adopted[0] if adopted else None

    def open(self, run_id: str) -> ReplicaLog:
        known = self._logs.get(run_id)
        if known is not None and known.owned and not known.ended:
            return known
        after = known.tail if known is not None else BEGINNING
        opened: list[ReplicaLog] = []

        def update(snapshot: Snapshot | None) -> None:
            if snapshot is None:
                return
            with self._lock:
                log = known or self._logs.get(run_id) or self._log(snapshot.run, snapshot.epoch)
                self._logs[run_id] = log
            if not log.owned:  # Adopted by another caller here meanwhile.
                log.epoch = snapshot.epoch
                log.apply(snapshot.segments, whole=True)
            opened.append(log)

        self.writer.ask(lambda engine: engine.load(run_id, after), update)
        if not opened:
            raise RunNotFound(run_id)
        return opened[0]

    def started(self, key: str) -> ReplicaLog | None:
        for run_id in self.writer.ask(lambda engine: engine.indexes.find("key", key)):
            with contextlib.suppress(RunNotFound):  # Dropped in between.
                return self.open(run_id)
        return None

    def latest(self, chat: str) -> str | None:
        return next(iter(self.writer.ask(lambda engine: engine.indexes.find("chat", chat))), None)

    def leave_chat(self, chat: str, run_id: str) -> None:
        self.writer.submit(lambda engine: engine.indexes.leave_chat(chat, run_id))

    def drop(self, run_id: str) -> bool:
        return self.writer.ask(lambda engine: engine.retention.drop(run_id))

    def chat_runs(self, chat: str, *, live: bool = False) -> list[str]:
        kind: Name = "chat-live" if live else "chat-runs"
        return self.writer.ask(lambda engine: engine.indexes.find(kind, chat))

    def all_runs(self) -> list[str]:
        return self.writer.ask(lambda engine: engine.indexes.find("all", ""))

    def undelivered(self, run_ids: Collection[str]) -> Collection[str]:
        return self.writer.ask(lambda engine: engine.outbox.undelivered(run_ids))

    def orphans(self, queued: float | None = None) -> list[Orphan]:
        found = self.writer.ask(lambda engine: engine.orphans())
        now = self._clock()
        # For as long as this process has seen it wait: no other machine's clock counts.
        self._queued = {run: self._queued.get(run, now) for run, epoch in found if not epoch}
        orphans: list[Orphan] = []
        for run, epoch in found:
            if epoch or (queued is not None and now - self._queued[run] >= queued):
                with contextlib.suppress(RunNotFound, RunUnreadable):
                    orphans.append(Orphan(self.open(run), epoch))
        return orphans

    def claim(self, busy: Collection[str]) -> Sequence[OutboxRow]:
        def note(rows: Sequence[OutboxRow]) -> None:
            # A row that was claimed before, and is not being delivered, may be another process's by now.
            self._claimed = {*busy, *(row.run for row in rows)}

        return self.writer.ask(lambda engine: engine.outbox.claim(busy), note)

    def delivered(self, run_id: str) -> None:
        if run_id in self._ended:
            self._ended[run_id][1].delivered = True
        self.writer.submit(
            lambda engine: engine.outbox.delivered(run_id), lambda _: self._claimed.discard(run_id)
        )

    def flush(self) -> None:
        with contextlib.suppress(StoreUnavailable):
            self.writer.ask(lambda engine: None)

    def take_durations(self) -> list[float]:
        durations = self.writer.durations
        return [durations.popleft() for _ in range(len(durations))]

    def sweep(self) -> None:
        following = list(self._following)
        self._full, known = self.writer.ask(
            lambda engine: (engine.retention.sweep(), engine.ended(following) if following else {})
        )
        self._mark_missing(set(following) - set(known))
        self.remembered()  # Those that are too old are freed.

    def close(self) -> None:
        self.writer.close()

    # What the writer needs.

    def living(self) -> list[ReplicaLog]:
        return list(self._own.values())

    def remembered(self) -> dict[str, EndedRun]:
        old = self._clock() - REMEMBER_SECONDS
        for run_id, (at, _) in list(self._ended.items()):
            if at > old:
                break
            self._ended.pop(run_id, None)
        return {run_id: ended for run_id, (_, ended) in list(self._ended.items())}

    def busy(self) -> bool:
        return bool(self._own or self._following or self._claimed)

    def on_unavailable(self) -> None:
        for log in self._known():
            if log.owned and not log.degraded:
                log.degrade()
            elif not (log.owned or log.ended or log.stale):
                log.mark_stale()

    # What its logs need.

    def follow(self, log: ReplicaLog) -> None:
        run_id = log.run.id
        weakref.finalize(log, self._unfollow, run_id).atexit = False
        self._following.add(run_id)
        self._update_following()

    def settled(self, log: ReplicaLog) -> None:
        with self._lock:
            self._own.pop(log.run.id, None)
        if log.ended and not log.owned:
            self._unfollow(log.run.id)

    def remember(self, ended: EndedRun) -> None:
        self._ended[ended.log.run.id] = (self._clock(), ended)
        kept = sum(it.size for _, it in list(self._ended.values()))
        while len(self._ended) > REMEMBER_RUNS or (kept > REMEMBER_BYTES and self._ended):
            _, oldest = self._ended.pop(next(iter(self._ended)))
            kept -= oldest.size

    # What the engine brings.

    def arrived(self, run_id: str, segments: Sequence[Segment]) -> None:
        self.process.call_soon_threadsafe(lambda: self._apply(run_id, segments))

    def stale(self, run_id: str | None) -> None:
        self.process.call_soon_threadsafe(lambda: self._reload_all(run_id))

    def _apply(self, run_id: str, segments: Sequence[Segment]) -> None:
        log = self._logs.get(run_id)
        if log is not None and not log.owned and not log.apply(segments):
            self._reload(log)

    def _reload_all(self, run_id: str | None) -> None:
        for log in self._known():
            if run_id in (None, log.run.id) and not (log.ended or log.degraded):
                self._reload(log)
        if run_id is None and self._ended:
            self.writer.heal()

    def _reload(self, log: ReplicaLog) -> None:
        def load(engine: Engine) -> Snapshot | None:
            snapshot = engine.load(log.run.id, min(log.tail, log.durable - 1))
            if snapshot is None and log.owned and not log.ended:
                # The database is another one now, and the run may stay silent for long.
                log.restore(engine)
            return snapshot

        def update(snapshot: Snapshot | None) -> None:
            if snapshot is None:
                return
            if not log.owned:
                log.apply(snapshot.segments, whole=True)
            elif snapshot.ended or snapshot.epoch > log.write_epoch:
                log.fence(snapshot)

        self.writer.submit(load, update)

    def _mark_missing(self, missing: set[str]) -> None:
        """Runs of other processes that the database does not have: their owners may be about to write them
        again. Else they were dropped before their end arrived here, and readers would wait for ever."""
        now = self._clock()
        self._missing = {run_id: self._missing.get(run_id, now) for run_id in missing}
        for run_id, since in self._missing.items():
            log = self._logs.get(run_id)
            if log is not None and now - since >= self._patience:
                log.mark_stale()

    def _log(self, run: Run, epoch: int) -> ReplicaLog:
        return ReplicaLog(self, self.writer, self.process, self._limits, run, epoch)

    def _living(self, run_id: str) -> ReplicaLog | None:
        # A log that ended here for want of a store may go on elsewhere; its readers have seen an end.
        log = self._logs.get(run_id)
        return None if log is None or log.ended else log

    def _known(self) -> list[ReplicaLog]:
        with self._lock:
            return list(self._logs.values())

    def _add(self, log: ReplicaLog, first: Sequence[Event], owned: bool) -> None:
        if owned and not log.owned:
            log.own(log.epoch, first)
        elif not owned:
            log.apply([Segment(0, list(first))])
        with self._lock:
            before = self._logs.get(log.run.id)
            self._logs[log.run.id] = log
            if owned:
                self._own[log.run.id] = log
        if before is not None and before is not log:
            # It was opened between two attempts to create the run: its readers come back to this one.
            before.mark_stale()

    def _unfollow(self, run_id: str) -> None:
        if run_id in self._following:
            self._following.discard(run_id)
            self._update_following()

    def _update_following(self) -> None:
        self.writer.submit(lambda engine: engine.following.follow(set(self._following)))
