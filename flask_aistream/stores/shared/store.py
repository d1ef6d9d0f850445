"""Logs that several processes share: mirrors in memory of what a database holds."""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable
from collections.abc import Sequence

from flask_aistream.core.cursor import BEGINNING
from flask_aistream.core.events import Event
from flask_aistream.core.run import Run
from flask_aistream.errors import RunNotFound
from flask_aistream.errors import StoreFull
from flask_aistream.errors import StoreUnavailable
from flask_aistream.stores.base import Orphan
from flask_aistream.stores.codec import ready
from flask_aistream.stores.limits import UNLIMITED
from flask_aistream.stores.limits import Limits
from flask_aistream.stores.shared.engine import Batch
from flask_aistream.stores.shared.engine import Engine
from flask_aistream.stores.shared.engine import Segment
from flask_aistream.stores.shared.engine import Snapshot
from flask_aistream.stores.shared.replica import ReplicaLog
from flask_aistream.stores.shared.writer import Job
from flask_aistream.stores.shared.writer import Writer
from flask_aistream.timing.concurrency import Spawner


class SharedStore:
    """Logs that several processes share.

    :ivar telling: Ids of runs whose end this process is to announce, and how many of it want to.

    :param patience: Seconds the database may be away before running runs fail.
    :param bounds: Of what is kept of a run here; see ``LogBuffer``.
    """

    shared = True

    def __init__(
        self,
        engine: Engine,
        process: Spawner,
        *,
        patience: float,
        bounds: Limits = UNLIMITED,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.process = process
        self.bounds = bounds
        self._full = False
        self._patience = patience
        self._clock = clock
        self._own: dict[str, ReplicaLog] = {}
        self._queued: dict[str, float] = {}
        self._missing: dict[str, float] = {}
        self.telling: Counter[str] = Counter()
        self._doubtful: set[str] = set()
        self._mirrors: weakref.WeakValueDictionary[str, ReplicaLog] = weakref.WeakValueDictionary()
        self._following: set[str] = set()
        self._lock = threading.Lock()
        self.scribe = Writer(
            engine,
            process,
            self,
            own=lambda: list(self._own.values()),
            count=lambda: len(self._own) + len(self._following) + len(self.telling),
            patience=patience,
            on_away=self._away,
        )

    def create(
        self, run: Run, first: Sequence[Event], *, owned: bool = True, most: int | None = None
    ) -> tuple[ReplicaLog, bool]:
        if self._full:
            raise StoreFull
        log = ReplicaLog(self, run, int(owned), owned=owned)
        batch = Batch.of(run.id, 0, [ready(event) for event in first], log.epoch)

        def begin(winner: str) -> None:
            if winner == run.id:
                log.begin(first)
                self._keep(log)

        release = Job(lambda engine: engine.release(run.id, log.reign), log.released)
        while True:
            winner = self.scribe.ask(
                lambda engine: engine.create(run, batch, most),
                begin,
                # Nobody here would ever make it, and nobody else as long as this process lives.
                regret=release if owned else None,
            )
            if winner == run.id:
                return log, True
            try:
                return self.open(winner), False
            except RunNotFound:  # Forgotten in between, and its key with it.
                continue

    def adopt(self, run_id: str, epoch: int = 0) -> ReplicaLog | None:
        known = self._unended(run_id)
        if known is not None and known.owned:
            return None
        after = known.tail if known is not None else BEGINNING
        adopted: list[ReplicaLog] = []

        def take_over(engine: Engine) -> Snapshot | None:
            return engine.load(run_id, after) if engine.adopt(run_id, epoch) else None

        def inherit(found: Snapshot | None) -> None:
            if found is None:
                return
            log = known or self._unended(run_id) or ReplicaLog(self, found.run, found.epoch)
            if log.inherit(found):
                self._keep(log)
                self._unfollow(run_id)
                adopted.append(log)

        def give_back(done: bool) -> None:
            for log in adopted:
                log.released(done)

        release = Job(lambda engine: engine.release(run_id, epoch + 1), give_back)
        self.scribe.ask(take_over, inherit, release)
        return adopted[0] if adopted else None

    def open(self, run_id: str) -> ReplicaLog:
        known = self._mirrors.get(run_id)
        if known is not None and known.owned and not known.ended:
            return known
        after = known.tail if known is not None else BEGINNING
        opened: list[ReplicaLog] = []

        def mirror(found: Snapshot | None) -> None:
            if found is not None:
                with self._lock:
                    log = known or self._mirrors.get(run_id)
                    log = log or ReplicaLog(self, found.run, found.epoch)
                    self._mirrors[run_id] = log
                if not log.owned:  # Adopted by somebody here meanwhile.
                    log.epoch = found.epoch
                    log.take(found.pieces, whole=True)
                opened.append(log)

        self.scribe.ask(lambda engine: engine.load(run_id, after), mirror)
        if not opened:
            raise RunNotFound(run_id)
        return opened[0]

    def started(self, key: str) -> ReplicaLog | None:
        run_id = self.scribe.ask(lambda engine: engine.started(key))
        try:
            return self.open(run_id) if run_id is not None else None
        except RunNotFound:  # Forgotten in between.
            return None

    def latest(self, chat: str) -> str | None:
        return self.scribe.ask(lambda engine: engine.latest(chat))

    def leave_chat(self, chat: str, run_id: str) -> None:
        self.scribe.tell(lambda engine: engine.leave_chat(chat, run_id))

    def running(self, owner: str) -> int:
        return self.scribe.ask(lambda engine: engine.running(owner))

    def orphans(self, queued: float | None = None) -> list[Orphan]:
        found = self.scribe.ask(lambda engine: engine.orphans())
        now = self._clock()
        # As long as we have watched it wait: no other machine's clock is asked.
        self._queued = {run: self._queued.get(run, now) for run, epoch in found if not epoch}
        orphans: list[Orphan] = []
        for run, epoch in found:
            if epoch or (queued is not None and now - self._queued[run] >= queued):
                with contextlib.suppress(RunNotFound):  # Forgotten in between.
                    orphans.append(Orphan(self.open(run), epoch))
        return orphans

    def untold(self) -> list[ReplicaLog]:
        ours: list[str] = []
        doubtful = set(self._doubtful)

        # In one step with the answer: a moment later, one of them may be told.
        def take(untold: list[str]) -> None:
            # Not what was found: until it is told, somebody may hold it who is about to learn that he did not
            # end it.
            self._doubtful.difference_update(doubtful - set(untold))
            ours.extend(run_id for run_id in untold if run_id not in self.telling)
            for run_id in ours:
                self.claim(run_id)

        self.scribe.ask(lambda engine: engine.untold(doubtful), take)
        logs: list[ReplicaLog] = []
        for run_id in ours:
            try:
                logs.append(self.open(run_id))
            except (RunNotFound, StoreUnavailable):  # Forgotten in between, or for another time.
                self.unclaim(run_id)
        return logs

    def claim(self, run_id: str) -> None:
        """This process is about to end a run, or has taken it over, and then announces its end."""
        with self._lock:
            self.telling[run_id] += 1

    def told(self, run_id: str) -> None:
        """It is announced, and the database knows it."""
        with self._lock:
            self.telling.pop(run_id, None)

    def doubt(self, run_id: str) -> None:
        """This process may have ended a run, and whoever did so has not heard of it."""
        self._doubtful.add(run_id)

    def unclaim(self, run_id: str) -> None:
        """One of those who wanted to do so does not. Another one may be at it in this very moment."""
        with self._lock:
            self.telling[run_id] -= 1
            if self.telling[run_id] <= 0:
                del self.telling[run_id]

    def flush(self) -> None:
        with contextlib.suppress(StoreUnavailable):
            self.scribe.ask(lambda engine: None)

    def sweep(self) -> None:
        following = list(self._following)
        self._full, missing = self.scribe.ask(
            lambda engine: (engine.sweep(), engine.missing(following))
        )
        self._let_go_of(missing)

    def close(self) -> None:
        self.scribe.close()

    def follow(self, log: ReplicaLog) -> None:
        """Fill a foreign run's mirror from now on, for as long as somebody holds it."""
        run_id, after = log.run_id, log.tail
        weakref.finalize(log, self._unfollow, run_id).atexit = False
        self._following.add(run_id)
        self.scribe.tell(
            lambda engine: engine.follow(run_id, after),
            lambda pieces: self._take(run_id, pieces, True),
        )

    def over(self, log: ReplicaLog) -> None:
        """A run has ended, or is no longer ours."""
        with self._lock:
            self._own.pop(log.run_id, None)
        if log.ended and not log.owned:
            self._unfollow(log.run_id)

    def arrived(self, run_id: str, pieces: Sequence[Segment]) -> None:
        self.process.call_soon_threadsafe(lambda: self._take(run_id, pieces, False))

    def stale(self, run_id: str | None) -> None:
        self.process.call_soon_threadsafe(lambda: self._look_again(run_id))

    def _take(self, run_id: str, pieces: Sequence[Segment], whole: bool) -> None:
        log = self._mirrors.get(run_id)
        if log is not None and not log.owned and not log.take(pieces, whole=whole):
            self._look_again(run_id)

    def _look_again(self, run_id: str | None) -> None:
        with self._lock:
            logs = list(self._mirrors.values())
        for log in logs:
            if run_id in (None, log.run_id) and not (log.ended or log.alone):
                self._reload(log)

    def _reload(self, log: ReplicaLog) -> None:
        def load(engine: Engine) -> Snapshot | None:
            found = engine.load(log.run_id, log.written - 1 if log.owned else log.tail)
            if found is None and log.owned and not log.ended:
                # The database is another one now, and the run may stay silent for long.
                log.revive(engine)
            return found

        def take(found: Snapshot | None) -> None:
            if found is None:
                return
            if not log.owned:
                log.take(found.pieces, whole=True)
            elif found.ended or found.epoch > log.reign:
                log.settle(found)

        self.scribe.tell(load, take)

    def _let_go_of(self, missing: set[str]) -> None:
        """Runs of other processes that the database does not have: their owners may be about to write them
        anew. Else they were forgotten before their end came here, and readers would wait for ever."""
        now = self._clock()
        self._missing = {run_id: self._missing.get(run_id, now) for run_id in missing}
        for run_id, since in self._missing.items():
            log = self._mirrors.get(run_id)
            if log is not None and now - since >= self._patience:
                log.let_go()

    def _unended(self, run_id: str) -> ReplicaLog | None:
        # A log that ended here for want of a store may go on elsewhere; its readers have seen an end.
        log = self._mirrors.get(run_id)
        return None if log is None or log.ended else log

    def _keep(self, log: ReplicaLog) -> None:
        with self._lock:
            self._mirrors[log.run_id] = log
            if log.owned:
                self._own[log.run_id] = log

    def _unfollow(self, run_id: str) -> None:
        if run_id not in self._following:
            return
        self._following.discard(run_id)
        self.scribe.tell(lambda engine: engine.unfollow(run_id))

    def _away(self) -> None:
        with self._lock:
            logs = list(self._mirrors.values())
        for log in logs:
            if log.owned and not log.alone:
                log.go_alone()
            elif not (log.owned or log.ended or log.stuck):
                log.let_go()
