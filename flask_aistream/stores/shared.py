"""Logs that several processes share: a mirror in memory of what a database holds.

Readers only ever read the mirror. Of a run this process owns, it is filled with what the scribe has
written; of a foreign run, with what the engine brings. So no reader can be ahead of the database.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable
from collections.abc import Sequence
from functools import partial

from flask_aistream.core.cursor import BEGINNING
from flask_aistream.core.events import TERMINAL
from flask_aistream.core.events import Event
from flask_aistream.core.events import Terminal
from flask_aistream.core.run import Run
from flask_aistream.errors import LogEnded
from flask_aistream.errors import RunNotFound
from flask_aistream.errors import StoreFull
from flask_aistream.errors import StoreUnavailable
from flask_aistream.stores.base import Orphan
from flask_aistream.stores.base import Process
from flask_aistream.stores.base import Wake
from flask_aistream.stores.engine import Batch
from flask_aistream.stores.engine import Engine
from flask_aistream.stores.engine import Found
from flask_aistream.stores.engine import Piece
from flask_aistream.stores.engine import Said
from flask_aistream.stores.engine import join
from flask_aistream.stores.engine import ready
from flask_aistream.stores.records import Records
from flask_aistream.stores.scribe import Scribe

ATTEMPTS = 9
"""At ending a run whose owner goes on writing."""

NEVER = -1

CROWD = 4096
"""Events of one run on their way to the database; a provider that is ahead by more waits."""


Ending = Callable[[Engine], "tuple[bool, Found | Terminal]"]
"""Ends a run in the database. Answers whether it did, and what has become of the run."""


class SharedLog(Records):
    """One run's mirror.

    :param epoch: See ``Log.epoch``.
    :ivar reign: The epoch under which this process writes, or ``NEVER``. It does not change when the run
        is lost: what is still on its way then is to be refused.
    :ivar alone: The database has been away for too long: readers here get what was not written.
    :ivar stuck: The same, of another process's run: readers here cannot know how it goes on.
    """

    def __init__(self, store: SharedStore, run: Run, epoch: int, *, owned: bool = False) -> None:
        super().__init__(run, (), store.max_events, store.log_bytes, store.process.lock())
        self.run_id = run.id
        self.epoch = epoch
        self.reign = epoch if owned else NEVER
        self.owned = owned
        self.alone = False
        self.stuck = False
        self.written = 0
        self.unwritten: list[Said] = []
        self._store = store
        self._call = store.scribe.inbox.put
        self._called = False
        self._said: list[Said] = []
        self._pending: list[Event] = []
        self._closing = False
        self._confirmed: bool | None = True
        self._announcement: Callable[[], None] | None = None
        self._followed = owned
        self._room: list[Wake] = []
        self._lost: list[Callable[[], None]] = []

    def append(self, event: Event) -> None:
        said = event if type(event) is str else ready(event)
        with self._lock:
            if self.ended or self._closing or not self.owned:
                raise LogEnded(f"Run {self.run.id} has ended, or belongs to another process now.")
            self._pending.append(event)
            self._said.append(said)
            if not self._called:
                self._called = True
                self._call(self)
            crowded = len(self._pending) > CROWD
        if self.alone:
            self.publish(1)
        elif crowded:
            self._wait_for_room()

    def end(self, terminal: Terminal, *, epoch: int | None = None, announced: bool = False) -> bool:
        with self._lock:
            # Who was the owner must not end what it has lost, or given up.
            if self.ended or (epoch is not None and (epoch == self.reign) != self.owned):
                return False
            self._closing = self.owned
        work = self._ending(terminal, secrets.token_hex(8), epoch, announced)
        if announced:
            self._store.claim(self.run_id)
        won: bool | None = False
        try:
            won = self._end_in_database(work)
            if won is None:
                won = self._end_alone(terminal, work)
        finally:
            if announced and not won:
                self._store.unclaim(self.run_id)
        return won

    def announce(self, tell: Callable[[], None]) -> None:
        with self._lock:
            confirmed = self._confirmed
            if confirmed is None:
                self._announcement = tell
        if confirmed:
            self._tell(tell)

    def release(self) -> bool:
        with self._lock:
            if self.ended or self.alone or not self.owned:
                return False
            self._closing = True
        run_id, reign = self.run_id, self.reign
        try:
            return self._store.scribe.ask(
                lambda engine: engine.release(run_id, reign), self._released
            )
        except StoreUnavailable:
            return False

    def on_lost(self, callback: Callable[[], None]) -> None:
        with self._lock:
            lost = self.ended
            if not lost:
                self._lost.append(callback)
        if lost:
            callback()

    def followed(self) -> bool:
        try:
            return self._store.scribe.ask(lambda engine: engine.followers(self.run.id))
        except StoreUnavailable:
            return True

    def notify(self, after: int, wake: Wake) -> None:
        with self._lock:
            news = self.tail > after
            if self.stuck and not (news or self.owned):
                raise StoreUnavailable("it has been away for too long")
            if not news:
                self._waiting[wake] = None
            follow = not (news or self._followed or self.ended)
            self._followed = self._followed or follow
        if news:
            wake()
        elif follow:
            self._store.follow(self)

    def collect(self) -> None:
        with self._lock:
            self.unwritten += self._said
            self._said.clear()
            self._called = False

    def begin(self, events: Sequence[Event]) -> None:
        """The database has the run, which begins with ``events``."""
        self._events = list(events)
        self.written = len(events)

    def inherit(self, found: Found) -> bool:
        """This process has adopted the run.

        :returns: False: somebody else here has it already.
        """
        self.take(found.pieces, whole=True)
        with self._lock:
            if self.owned:
                return False
            self.owned = self._followed = True
            self._closing = False
            self.epoch = self.reign = found.epoch
            self.written = self.tail + 1
        return True

    def publish(self, count: int) -> None:
        """The next ``count`` events are in the database."""
        with self._lock:
            if count == len(self._pending):
                self._events += self._pending
                self._pending.clear()
            else:
                self._events += self._pending[:count]
                del self._pending[:count]
            if len(self._events) > self._look_at:
                self._trim()
        if self._waiting or self._room:
            self._wake()

    def take(self, pieces: Sequence[Piece], *, whole: bool = False) -> bool:
        """Records that the database has. Those known already are left out.

        :param whole: What is missing before them is missing in the database too.
        :returns: False: something is missing in between, and nothing was taken.
        """
        with self._lock:
            self.stuck = False
            for first, events in pieces:
                known = self.tail + 1 - first
                if known < 0:
                    if not whole:
                        return False
                    self._restart(first)
                    known = 0
                if not self.ended:
                    self._events += events[known:]
                if self._events and isinstance(self._events[-1], TERMINAL):
                    self.ended = True
            if len(self._events) > self._look_at:
                self._trim()
        self._wake()
        if self.ended:
            self._over()
        return True

    def settle(self, found: Found) -> None:
        """Another process has ended this run, or owns it: what the database refused was never said."""
        with self._lock:
            lost = self.owned and found.epoch > self.reign and not found.ended
            if lost or found.ended:
                self._pending.clear()
            if lost:
                self.owned = self._followed = False
                self.epoch = found.epoch
        if lost:
            self._store.over(self)
        self.take(found.pieces, whole=True)  # Which wakes every reader; they will follow the other.
        if lost:
            self._say_lost()

    def _released(self, done: bool) -> None:
        if done:
            with self._lock:
                self.owned = self._followed = False
                self._lost.clear()  # Who releases it knows it.
            self._store.over(self)
            self._wake()  # Readers are to follow whoever adopts it.

    def revive(self, engine: Engine) -> bool:
        """Write everything once more, into a database that has forgotten it.

        :returns: False: it was ended or adopted meanwhile.
        """
        with self._lock:
            first, end = self._trimmed, self.written + len(self.unwritten)
            known = (self._events + self._pending)[: end - first]
        said = [ready(event) for event in known]
        return engine.restore(self.run, Batch.of(self.run_id, first, said, self.reign))

    def let_go(self) -> None:
        """The database has been away for too long: readers of another process's run are told."""
        with self._lock:
            self.stuck = True
        self._wake()

    def go_alone(self) -> None:
        """The database has been away for too long: go on without it, and tell the owner."""
        with self._lock:
            self.alone = True
            count = len(self._pending)
            lost, self._lost = self._lost, []
        self.publish(count)
        for callback in lost:
            callback()

    def _end_in_database(self, work: Ending) -> bool | None:
        """:returns: ``None``: the database is away, and this process is the owner."""
        if self.alone:
            return None
        try:
            return self._store.scribe.ask(work, self._ended)[0]
        except StoreUnavailable:
            if not self.owned:
                raise
            return None

    def _end_alone(self, terminal: Terminal, work: Ending) -> bool:
        """End it for the readers of this process, and in the database as soon as that is back: only then
        is it known whether another process has ended it meanwhile."""
        self.go_alone()
        if not self._finish(terminal):
            return False
        self._confirmed = None
        self._store.scribe.tell(work, lambda answer: self._confirm(answer[0]))
        return True

    def _confirm(self, won: bool) -> None:
        with self._lock:
            self._confirmed = won
            tell, self._announcement = self._announcement, None
        if not won:
            self._store.unclaim(self.run_id)
        elif tell is not None:
            self._store.process.spawn(partial(self._tell, tell))

    def _tell(self, tell: Callable[[], None]) -> None:
        tell()
        run_id = self.run_id
        self._store.scribe.tell(
            lambda engine: engine.told(run_id), lambda _: self._store.told(run_id)
        )

    def _on_the_way(self) -> int:
        # The store tells others of what it has written before, or instead of, its answer to us.
        return len(self._pending)

    def _ending(self, terminal: Terminal, token: str, epoch: int | None, announced: bool) -> Ending:
        data = join([ready(terminal)])

        def work(engine: Engine) -> tuple[bool, Found | Terminal]:
            own, written = self.owned, self.written + len(self.unwritten)
            for _ in range(ATTEMPTS):
                number = written if own else self._next(engine)
                fence = self.reign if own and epoch is None else epoch
                won = engine.end(
                    self.run.id,
                    number,
                    data,
                    token,
                    exactly=own,
                    epoch=fence,
                    announced=announced,
                )
                if won and own:
                    return True, terminal
                if won is None and own and self.revive(engine):
                    continue
                found = engine.load(self.run.id, self.tail)
                if found is None:
                    raise RunNotFound(self.run.id)
                adopted = own and found.epoch > self.reign and not found.ended
                own = own and not adopted
                # One that is not ours any more can still be ended, as by anybody else.
                if won is not None and not (adopted and epoch is None):
                    return won, found
            raise StoreUnavailable("the run grew faster than it could be ended")

        return work

    def _next(self, engine: Engine) -> int:
        """Number of the record to come: never behind what a reader here has seen, even if the
        database has lost it."""
        found = engine.load(self.run.id, self.tail)
        if found is None:
            raise RunNotFound(self.run.id)
        return max([self.tail, *map(last_of, found.pieces)]) + 1

    def _ended(self, answer: tuple[bool, Found | Terminal]) -> None:
        _, said = answer
        if isinstance(said, Found):
            self.settle(said)
        else:
            self._finish(said)

    def _finish(self, terminal: Terminal) -> bool:
        with self._lock:
            if self.ended:
                return False
            self._events += self._pending
            self._pending.clear()
            self._events.append(terminal)
            self.ended = True
            # Who ends it here knows it.
            self._lost.clear()
        self._wake()
        self._over()
        return True

    def _over(self) -> None:
        self._store.over(self)
        self._say_lost()

    def _say_lost(self) -> None:
        with self._lock:
            lost, self._lost = self._lost, []
        for callback in lost:
            callback()

    def _wake(self) -> None:
        super()._wake()
        if not self._room:
            return
        with self._lock:
            room, self._room = self._room, []
        for wake in room:
            wake()

    def _wait_for_room(self) -> None:
        waiter = self._store.process.waiter()
        while True:
            with self._lock:
                if self.ended or self.alone or len(self._pending) <= CROWD // 2:
                    return
                self._room.append(waiter.wake)
            waiter.wait()


class SharedStore:
    """Logs that several processes share.

    :ivar telling: Ids of runs whose end this process is to announce, and how many of it want to.

    :param patience: Seconds the database may be away before running runs fail.
    :param max_events: Events of one run that are kept here; see ``Records``.
    :param log_bytes: Of these events; see ``Records``.
    """

    shared = True

    def __init__(
        self,
        engine: Engine,
        process: Process,
        *,
        patience: float,
        max_events: int | None = None,
        log_bytes: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.process = process
        self.max_events = max_events
        self.log_bytes = log_bytes
        self._full = False
        self._clock = clock
        self._own: dict[str, SharedLog] = {}
        self._queued: dict[str, float] = {}
        self.telling: Counter[str] = Counter()
        self._mirrors: weakref.WeakValueDictionary[str, SharedLog] = weakref.WeakValueDictionary()
        self._following: set[str] = set()
        self._lock = threading.Lock()
        self.scribe = Scribe(
            engine,
            process,
            self,
            count=lambda: len(self._own) + len(self._following) + len(self.telling),
            patience=patience,
            on_away=self._away,
        )

    def create(
        self, run: Run, first: Sequence[Event], *, owned: bool = True, most: int | None = None
    ) -> tuple[SharedLog, bool]:
        if self._full:
            raise StoreFull
        log = SharedLog(self, run, int(owned), owned=owned)
        batch = Batch.of(run.id, 0, [ready(event) for event in first], log.epoch)

        def begin(winner: str) -> None:
            if winner == run.id:
                log.begin(first)
                self._keep(log)

        while True:
            winner = self.scribe.ask(lambda engine: engine.create(run, batch, most), begin)
            if winner == run.id:
                return log, True
            try:
                return self.open(winner), False
            except RunNotFound:  # Forgotten in between, and its key with it.
                continue

    def adopt(self, run_id: str, epoch: int = 0) -> SharedLog | None:
        known = self._unended(run_id)
        if known is not None and known.owned:
            return None
        after = known.tail if known is not None else BEGINNING
        adopted: list[SharedLog] = []

        def take_over(engine: Engine) -> Found | None:
            return engine.load(run_id, after) if engine.adopt(run_id, epoch) else None

        def inherit(found: Found | None) -> None:
            if found is None:
                return
            log = known or self._unended(run_id) or SharedLog(self, found.run, found.epoch)
            if log.inherit(found):
                self._keep(log)
                self._unfollow(run_id)
                adopted.append(log)

        self.scribe.ask(take_over, inherit)
        return adopted[0] if adopted else None

    def open(self, run_id: str) -> SharedLog:
        known = self._mirrors.get(run_id)
        if known is not None and known.owned and not known.ended:
            return known
        after = known.tail if known is not None else BEGINNING
        opened: list[SharedLog] = []

        def mirror(found: Found | None) -> None:
            if found is not None:
                with self._lock:
                    log = known or self._mirrors.get(run_id)
                    log = log or SharedLog(self, found.run, found.epoch)
                    self._mirrors[run_id] = log
                if not log.owned:  # Adopted by somebody here meanwhile.
                    log.epoch = found.epoch
                    log.take(found.pieces, whole=True)
                opened.append(log)

        self.scribe.ask(lambda engine: engine.load(run_id, after), mirror)
        if not opened:
            raise RunNotFound(run_id)
        return opened[0]

    def started(self, key: str) -> SharedLog | None:
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

    def untold(self) -> list[SharedLog]:
        ours: list[str] = []

        # In one step with the answer: a moment later, one of them may be told.
        def take(untold: list[str]) -> None:
            ours.extend(run_id for run_id in untold if run_id not in self.telling)
            for run_id in ours:
                self.claim(run_id)

        self.scribe.ask(lambda engine: engine.untold(), take)
        logs: list[SharedLog] = []
        for run_id in ours:
            try:
                logs.append(self.open(run_id))
            except RunNotFound:  # Forgotten in between.
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
        self._full = self.scribe.ask(lambda engine: engine.sweep())

    def close(self) -> None:
        self.scribe.close()

    def follow(self, log: SharedLog) -> None:
        """Fill a foreign run's mirror from now on, for as long as somebody holds it."""
        run_id, after = log.run_id, log.tail
        weakref.finalize(log, self._unfollow, run_id).atexit = False
        self._following.add(run_id)
        self.scribe.tell(
            lambda engine: engine.follow(run_id, after),
            lambda pieces: self._take(run_id, pieces, True),
        )

    def over(self, log: SharedLog) -> None:
        """A run has ended, or is no longer ours."""
        with self._lock:
            self._own.pop(log.run_id, None)
        if log.ended and not log.owned:
            self._unfollow(log.run_id)

    def arrived(self, run_id: str, pieces: Sequence[Piece]) -> None:
        self.process.home(lambda: self._take(run_id, pieces, False))

    def stale(self, run_id: str | None) -> None:
        self.process.home(lambda: self._look_again(run_id))

    def _take(self, run_id: str, pieces: Sequence[Piece], whole: bool) -> None:
        log = self._mirrors.get(run_id)
        if log is not None and not log.owned and not log.take(pieces, whole=whole):
            self._look_again(run_id)

    def _look_again(self, run_id: str | None) -> None:
        with self._lock:
            logs = list(self._mirrors.values())
        for log in logs:
            if run_id in (None, log.run_id) and not (log.ended or log.alone):
                self._reload(log)

    def _reload(self, log: SharedLog) -> None:
        def load(engine: Engine) -> Found | None:
            found = engine.load(log.run_id, log.written - 1 if log.owned else log.tail)
            if found is None and log.owned and not log.ended:
                # The database is another one now, and the run may stay silent for long.
                log.revive(engine)
            return found

        def take(found: Found | None) -> None:
            if found is None:
                return
            if not log.owned:
                log.take(found.pieces, whole=True)
            elif found.ended or found.epoch > log.reign:
                log.settle(found)

        self.scribe.tell(load, take)

    def _unended(self, run_id: str) -> SharedLog | None:
        # A log that ended here for want of a store may go on elsewhere; its readers have seen an end.
        log = self._mirrors.get(run_id)
        return None if log is None or log.ended else log

    def _keep(self, log: SharedLog) -> None:
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


def last_of(piece: Piece) -> int:
    return piece.first + len(piece.events) - 1
