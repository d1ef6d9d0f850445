"""One run's log in a process, where a database holds it.

Readers only ever read the buffer. The owner's buffer shows what the writer has made durable; any other is
filled with what the engine brings. So no reader is ahead of the database, except where that has been
unavailable for too long (degraded).
"""

from __future__ import annotations

import contextlib
import secrets
import typing as t
from collections.abc import Callable
from collections.abc import Sequence

from flask_aistream.core.events import TERMINAL
from flask_aistream.core.events import Event
from flask_aistream.core.events import Interrupted
from flask_aistream.core.events import Terminal
from flask_aistream.core.run import Run
from flask_aistream.errors import LogEnded
from flask_aistream.errors import RunNotFound
from flask_aistream.errors import StoreUnavailable
from flask_aistream.stores.base import Wake
from flask_aistream.stores.codec import freeze
from flask_aistream.stores.limits import Limits
from flask_aistream.stores.log import END
from flask_aistream.stores.log import LogBuffer
from flask_aistream.stores.shared.engine import Batch
from flask_aistream.stores.shared.engine import End
from flask_aistream.stores.shared.engine import Engine
from flask_aistream.stores.shared.engine import Segment
from flask_aistream.stores.shared.engine import Snapshot
from flask_aistream.stores.shared.writer import Job
from flask_aistream.stores.shared.writer import Writer
from flask_aistream.timing.concurrency import Spawner

NEVER = -1

BACKLOG = 16384
"""Records of one run that are not durable, at most; an append beyond waits until half of them are."""


Ended = tuple[bool, Snapshot | None]
"""Whether this call has ended the run; what has become of the run, unless it is as the owner knows."""


class Registry(t.Protocol):
    """Where a store keeps its logs."""

    def follow(self, log: ReplicaLog) -> None:
        """A reader waits for another process's run."""

    def settled(self, log: ReplicaLog) -> None:
        """A run has ended, or is no longer this process's."""

    def remember(self, ended: EndedRun) -> None: ...


class EndedRun:
    """A run that this process has ended.

    :ivar size: Bytes of its request and its log.
    """

    def __init__(self, log: ReplicaLog, end: End) -> None:
        self.log = log
        self.end = end
        self.size = len(log.run.request or "") + log.size
        self.delivered = False

    def assert_end(self, engine: Engine) -> None:
        """Write the run and its end again: the database was rolled back to before it."""
        log = self.log.everything()
        if engine.restore(self.log.run, Batch.of(self.log.run.id, *log, self.log.epoch)):
            outbox = None if self.delivered else self.end.outbox
            engine.end(self.end._replace(number=log.next, log=log, outbox=outbox))


class ReplicaLog(LogBuffer):
    """One run's log.

    :param epoch: See ``Log.epoch``.
    :ivar write_epoch: The epoch under which this process appends, or ``NEVER``. It does not change when the
        run is lost: appends already in flight are to be refused.
    :ivar degraded: The database has been unavailable for too long: readers here get records that are not
        durable.
    :ivar stale: The same, of another process's run: readers here cannot learn how it continues.
    :ivar forgotten: Another process has ended or adopted it: it must not be written again, even if the database
        does not have it any more.
    """

    def __init__(
        self,
        registry: Registry,
        writer: Writer,
        process: Spawner,
        limits: Limits,
        run: Run,
        epoch: int,
    ) -> None:
        super().__init__(run, (), limits, process.lock())
        self.epoch = epoch
        self.write_epoch = NEVER
        self.owned = False
        self.degraded = False
        self.stale = False
        self.forgotten = False
        self._registry = registry
        self._writer = writer
        self._process = process
        self._put = writer.inbox.put
        self._dirty = False
        self._closing = False
        self._ends = 0  # Calls of ``end`` that go on.
        self._releasing = False
        self._following = False
        # Records before this number are dropped from the database too: by now, and with the next append.
        self._trimmed = self._trimming = 0
        self._backpressure: list[Wake] = []
        self._lost: list[Callable[[], None]] = []

    # The owner.

    def own(self, epoch: int, events: Sequence[Event] = ()) -> None:
        """The database has made this process the owner, and holds everything so far.

        :param events: Records to add to it.
        """
        self._events += events
        self.handed = self.durable = self.visible = self.next
        self.epoch = self.write_epoch = epoch
        self._closing = self._releasing = self.forgotten = False
        self.owned = True

    def append(self, event: Event) -> None:
        if type(event) is not str:
            event = freeze(event)
        with self._lock:
            if self.ended or self._closing or not self.owned:
                raise LogEnded(f"Run {self.run.id} has ended, or belongs to another process now.")
            self._events.append(event)
            if not self._dirty:
                self._dirty = True
                self._put(self)
            backlog = self.next - self.durable
        if self.degraded:
            self.publish()
        elif backlog > BACKLOG:
            self._wait_for_writer()

    def hand_over(self) -> Batch | None:
        with self._lock:
            self._dirty = False
            if not self.owned or self.forgotten or self.durable == END:
                return None
            self.handed = self.next - self.ended  # The terminal event is written by a job.
            self._trimming = self.first
            first, keep = self.durable, self.first if self.first > self._trimmed else 0
            events = self._events[first - self.first : self.handed - self.first]
        return Batch.of(self.run.id, first, events, self.write_epoch, keep)

    def acknowledge(self) -> None:
        with self._lock:
            if self.owned and self.durable != END:
                self.durable = self.handed
                self._trimmed = self._trimming

    def publish(self) -> None:
        with self._lock:
            if self.owned and not self.ended:
                self.visible = self.next if self.degraded else self.durable
            if len(self._events) > self._measure_at:
                self._trim()
        if self._waiting or self._backpressure:
            self._wake()

    def restore(self, engine: Engine) -> bool:
        """Write the run again, as far as it was handed over.

        :returns: False: it was ended or adopted meanwhile.
        """
        if self.forgotten:
            return False
        with self._lock:
            first, handed = self.first, min(self.handed, self.next)
            events = self._events[: handed - first]
        return engine.restore(self.run, Batch.of(self.run.id, first, events, self.write_epoch))

    def everything(self) -> Segment:
        """Every record but the terminal event."""
        with self._lock:
            return Segment(self.first, self._events[: len(self._events) - self.ended])

    def release(self) -> bool:
        with self._lock:
            if self.ended or self.degraded or not self.owned:
                return False
            self._closing = self._releasing = True
        run_id, epoch = self.run.id, self.write_epoch
        released = False
        try:
            released = self._writer.ask(
                lambda engine: engine.assign(run_id, epoch, adopt=False), self.released
            )
        except StoreUnavailable:
            pass
        finally:
            if not released:  # Else it may have come back already.
                self._releasing = False
        return released

    def released(self, done: bool) -> None:
        """The database knows whether the run is given up."""
        if done:
            with self._lock:
                self._disown()
                self._lost.clear()  # The caller knows it.
            self._registry.settled(self)
            self._wake()  # Readers have to follow the next owner.

    def on_lost(self, callback: Callable[[], None]) -> None:
        with self._lock:
            lost = self.ended
            if not lost:
                self._lost.append(callback)
        if lost:
            callback()

    def followed(self) -> bool:
        try:
            return self._writer.ask(lambda engine: engine.following.followed(self.run.id))
        except StoreUnavailable:
            return True

    # The end.

    def end(self, terminal: Terminal, *, epoch: int | None = None, claim: bool = False) -> bool:
        token = secrets.token_hex(8)

        def work(engine: Engine) -> Ended:
            return self._end(engine, terminal, token, epoch, claim)

        def effect(answer: Ended) -> None:
            self._on_ended(terminal, answer)

        with self._lock:
            if self.ended or (epoch is not None and not self._may_end(epoch)):
                return False
            self._closing = self.owned
            self._ends += 1
            # Before the lock is released: a provider whose append is refused ends the run, too, and must come second.
            job = self._post(work, effect)
        try:
            return self._end_in_database(terminal, work, effect, job)
        finally:
            with self._lock:
                self._ends -= 1

    def _post(
        self, work: Callable[[Engine], Ended], effect: Callable[[Ended], None]
    ) -> Job[Ended] | None:
        """Queue a job; ``None``: the database is unavailable."""
        if not self.degraded:
            with contextlib.suppress(StoreUnavailable):
                return self._writer.post(work, effect)
        return None

    def _end_in_database(
        self,
        terminal: Terminal,
        work: Callable[[Engine], Ended],
        effect: Callable[[Ended], None],
        job: Job[Ended] | None,
    ) -> bool:
        """End the run; where the database is unavailable, for the readers of this process first."""
        if job is not None:
            try:
                return self._writer.answer(job)[0]
            except StoreUnavailable:
                if not self.owned:
                    raise
            except Exception:
                raise
            except BaseException:  # The caller gives up. The end does not.
                self._writer.submit(work, effect)
                raise
        elif not (self.owned or self.degraded):
            raise StoreUnavailable
        if self._ends > 1:  # Another call still waits for the database: that one ends the run.
            return False
        # The readers of this process get the end now. The database gets it as soon as it is available, and
        # refuses it if another process has ended the run meanwhile.
        self.degrade()
        if not self._finish(terminal):
            return False
        self._writer.submit(work)
        return True

    def fence(self, snapshot: Snapshot) -> None:
        """Another process has ended this run, or owns it: what the database refused was never appended."""
        with self._lock:
            lost = self.owned and snapshot.epoch > self.write_epoch and not snapshot.ended
            if self.owned and (lost or snapshot.ended):
                del self._events[max(self.durable, min(self.visible, self.next)) - self.first :]
            if lost:
                self._disown()
                self.epoch = snapshot.epoch
        if lost:
            self._registry.settled(self)
        self.apply(snapshot.segments, whole=True)
        if lost:
            self._call_lost()

    def final_snapshot(self) -> Snapshot:
        """How a run ends here that another process has ended, and that the database does not have any more."""
        interrupted = Segment(min(self.durable, self.next), [Interrupted("owner-lost")])
        return Snapshot(self.run, [interrupted], self.write_epoch)

    # Readers of another process's run.

    def notify(self, after: int, wake: Wake) -> None:
        with self._lock:
            news = self.tail > after
            if self.stale and not (news or self.owned):
                raise StoreUnavailable("it has been unavailable for too long")
            if not news:
                self._waiting[wake] = None
            follow = not (news or self.owned or self._following or self.ended)
            self._following = self._following or follow
        if news:
            wake()
        elif follow:
            self._registry.follow(self)

    def apply(self, segments: Sequence[Segment], *, whole: bool = False) -> bool:
        """Add records that the database has. Those known already are left out.

        :param whole: What is missing before them is missing in the database too.
        :returns: False: something is missing in between, and nothing was added.
        """
        with self._lock:
            self.stale = False
            for segment in segments:
                if self.ended:
                    break
                if segment.first > self.next:
                    if not whole:
                        return False
                    self._restart(segment.first)
                # An end is new, though the database may have lost records that were read from it before.
                end = [it for it in segment.events[-1:] if isinstance(it, TERMINAL)]
                self._events += segment.after(self.next - 1).events or end
                self.ended = self.terminal is not None
            if self.ended:
                self.handed = self.durable = self.visible = END
            if len(self._events) > self._measure_at:
                self._trim()
        self._wake()
        if self.ended:
            self._on_settled()
        return True

    def mark_stale(self) -> None:
        """The database has been unavailable for too long: readers of another process's run get an error."""
        with self._lock:
            self.stale = True
        self._wake()

    def degrade(self) -> None:
        """The database has been unavailable for too long: continue without it, and tell the owner."""
        self.degraded = True
        self.publish()
        self._call_lost()

    def _may_end(self, epoch: int) -> bool:
        """A former owner must not end what it has lost, or gives up."""
        if epoch == self.write_epoch:
            return self.owned and not self._releasing
        return not self.owned

    def _end(
        self, engine: Engine, terminal: Terminal, token: str, epoch: int | None, claim: bool
    ) -> Ended:
        """End the run in the database."""
        if self.owned:
            fence = self.write_epoch if epoch is None else epoch
            won = self._end_as_owner(engine, terminal, token, fence, claim)
            if won:
                return True, None
            snapshot = engine.load(self.run.id, self.durable - 1)
            if snapshot is None:
                return False, self.final_snapshot()
            if snapshot.epoch <= self.write_epoch and not snapshot.ended:
                raise StoreUnavailable("the run could not be ended")
            if snapshot.ended or epoch is not None:
                return False, snapshot
            # Another process has adopted it. It can still be ended, as any process can.
        end = End(self.run.id, self.tail + 1, terminal, token, None, epoch, claim)
        won = engine.end(end)
        snapshot = engine.load(self.run.id, self.tail)
        if won is None or snapshot is None:
            raise RunNotFound(self.run.id)
        if won:
            self._registry.remember(EndedRun(self, end))
        return won, snapshot

    def _end_as_owner(
        self, engine: Engine, terminal: Terminal, token: str, epoch: int, claim: bool
    ) -> bool | None:
        with self._lock:
            log = Segment(self.first, self._events[: min(self.handed, self.next) - self.first])
        end = End(self.run.id, log.next, terminal, token, log, epoch, claim)
        won = engine.end(end)
        if won is None and self.restore(engine):  # The database had lost some of it.
            won = engine.end(end)
        if won:
            self._registry.remember(EndedRun(self, end))
        return won

    def _on_ended(self, terminal: Terminal, answer: Ended) -> None:
        _, snapshot = answer
        if snapshot is None:
            self._finish(terminal)
        else:
            self.fence(snapshot)

    def _finish(self, terminal: Terminal) -> bool:
        with self._lock:
            if self.ended:
                return False
            self._events.append(terminal)
            self.ended = True
            self.visible = END
            self._lost.clear()  # The caller knows it.
        self._wake()
        self._on_settled()
        return True

    def _disown(self) -> None:
        self.owned = self._following = False
        self.handed = self.durable = self.visible = END

    def _on_settled(self) -> None:
        self._registry.settled(self)
        self._call_lost()

    def _call_lost(self) -> None:
        with self._lock:
            lost, self._lost = self._lost, []
        for callback in lost:
            callback()

    def _wake(self) -> None:
        super()._wake()
        if not self._backpressure:
            return
        with self._lock:
            waiting, self._backpressure = self._backpressure, []
        for wake in waiting:
            wake()

    def _wait_for_writer(self) -> None:
        waiter = self._process.waiter()
        while True:
            with self._lock:
                if self.ended or self.degraded or self.next - self.durable <= BACKLOG // 2:
                    return
                self._backpressure.append(waiter.wake)
            self._writer.flush_now()
            waiter.wait()
