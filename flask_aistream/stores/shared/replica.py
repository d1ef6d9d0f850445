"""One run's mirror: the records of a log that a database holds, in the memory of a process.

Readers only ever read the mirror. Of a run this process owns, it is filled with what the scribe has
written; of a foreign run, with what the engine brings. So no reader can be ahead of the database.
"""

from __future__ import annotations

import secrets
import typing as t
from collections import deque
from collections.abc import Callable
from collections.abc import Sequence
from functools import partial

from flask_aistream.core.events import TERMINAL
from flask_aistream.core.events import Event
from flask_aistream.core.events import Interrupted
from flask_aistream.core.events import Terminal
from flask_aistream.core.run import Run
from flask_aistream.errors import LogEnded
from flask_aistream.errors import RunNotFound
from flask_aistream.errors import StoreUnavailable
from flask_aistream.stores.base import Wake
from flask_aistream.stores.codec import Encoded
from flask_aistream.stores.codec import EncodedEvent
from flask_aistream.stores.codec import join
from flask_aistream.stores.codec import ready
from flask_aistream.stores.log import LogBuffer
from flask_aistream.stores.shared.engine import Batch
from flask_aistream.stores.shared.engine import End
from flask_aistream.stores.shared.engine import Engine
from flask_aistream.stores.shared.engine import Segment
from flask_aistream.stores.shared.engine import Snapshot

if t.TYPE_CHECKING:
    from flask_aistream.stores.shared.store import SharedStore

ATTEMPTS = 9
"""At ending a run whose owner goes on writing."""

NEVER = -1

CROWD = 16384
"""Events of one run on their way to the database; a provider that is ahead by more waits."""


Ending = Callable[[Engine], "tuple[bool, Snapshot | Terminal]"]
"""Ends a run in the database. Answers whether it did, and what has become of the run."""


class ReplicaLog(LogBuffer):
    """One run's mirror.

    :param epoch: See ``Log.epoch``.
    :ivar reign: The epoch under which this process writes, or ``NEVER``. It does not change when the run
        is lost: what is still on its way then is to be refused.
    :ivar alone: The database has been away for too long: readers here get what was not written.
    :ivar stuck: The same, of another process's run: readers here cannot know how it goes on.
    :ivar forgotten: It was ended and swept while this process slept: it is not to be written anew.
    """

    def __init__(self, store: SharedStore, run: Run, epoch: int, *, owned: bool = False) -> None:
        super().__init__(run, (), store.bounds, store.process.lock())
        self.run_id = run.id
        self.epoch = epoch
        self.reign = epoch if owned else NEVER
        self.owned = owned
        self.alone = False
        self.stuck = False
        self.forgotten = False
        self.written = 0
        self.unwritten: list[EncodedEvent] = []
        self._store = store
        self._call = store.scribe.inbox.put
        self._called = False
        # Not in the database yet. Of these, the scribe has the first few, and, alone, readers do.
        self._pending: list[Event] = []
        self._collected = self._shown = 0
        # Those of the others that are no text.
        self._encoded: deque[Encoded] = deque()
        self._crowd = CROWD
        self._closing = False
        self._given_up = False
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
            if type(said) is Encoded:
                self._encoded.append(said)
            if not self._called:
                self._called = True
                self._call(self)
            crowded = len(self._pending) > self._crowd
        if crowded:
            self._make_room()

    def end(self, terminal: Terminal, *, epoch: int | None = None, announced: bool = False) -> bool:
        with self._lock:
            if self.ended or (epoch is not None and not self._may_end(epoch)):
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
        except BaseException:
            if announced:
                self._store.doubt(self.run_id)
            raise
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
            self._closing = self._given_up = True
        run_id, reign = self.run_id, self.reign
        released = False
        try:
            released = self._store.scribe.ask(
                lambda engine: engine.release(run_id, reign), self.released
            )
        except StoreUnavailable:
            pass
        finally:
            if not released:  # Else it may have come back already.
                self._given_up = False
        return released

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
            new: list[EncodedEvent] = self._pending[self._collected :]  # type: ignore[assignment]
            if self._encoded:
                new = [it if type(it) is str else self._encoded.popleft() for it in new]
            self._collected = len(self._pending)
            self._called = False
        self.unwritten += new

    def begin(self, events: Sequence[Event]) -> None:
        """The database has the run, which begins with ``events``."""
        self._events = list(events)
        self.written = len(events)

    def inherit(self, found: Snapshot) -> bool:
        """This process has adopted the run.

        :returns: False: somebody else here has it already.
        """
        self.take(found.pieces, whole=True)
        with self._lock:
            if self.owned:
                return False
            self.owned = self._followed = True
            self._closing = self._given_up = False
            self.epoch = self.reign = found.epoch
            self.written = self.tail + 1
        return True

    def publish(self, count: int) -> None:
        """The next ``count`` events are in the database."""
        with self._lock:
            self._events += self._pending[self._shown : count]
            del self._pending[:count]
            self._collected = max(self._collected - count, 0)
            if self._shown:
                self._shown = max(self._shown - count, 0)
            if len(self._events) > self._look_at:
                self._trim()
        if self._waiting or self._room:
            self._wake()

    def take(self, pieces: Sequence[Segment], *, whole: bool = False) -> bool:
        """LogBuffer that the database has. Those known already are left out.

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
                    # An end is new, though the database may have lost what we know from before it.
                    end = [event for event in events[-1:] if isinstance(event, TERMINAL)]
                    self._events += events[known:] or end
                if self._events and isinstance(self._events[-1], TERMINAL):
                    self.ended = True
            if len(self._events) > self._look_at:
                self._trim()
        self._wake()
        if self.ended:
            self._over()
        return True

    def settle(self, found: Snapshot) -> None:
        """Another process has ended this run, or owns it: what the database refused was never said."""
        with self._lock:
            lost = self.owned and found.epoch > self.reign and not found.ended
            if lost or found.ended:
                self._pending.clear()
                self._encoded.clear()
                self._collected = self._shown = 0
            if lost:
                self.owned = self._followed = False
                self.epoch = found.epoch
        if lost:
            self._store.over(self)
        self.take(found.pieces, whole=True)  # Which wakes every reader; they will follow the other.
        if lost:
            self._say_lost()

    def released(self, done: bool) -> None:
        """The database knows whether the run is given up."""
        if done:
            with self._lock:
                self.owned = self._followed = False
                self._lost.clear()  # Who releases it knows it.
            self._store.over(self)
            self._wake()  # Readers are to follow whoever adopts it.

    def as_forgotten(self) -> Snapshot:
        """What is said here of a run that was ended elsewhere, when the database does not have it any more."""
        return Snapshot(self.run, [Segment(self.written, [Interrupted("owner-lost")])], self.reign)

    def revive(self, engine: Engine) -> bool:
        """Write everything once more, into a database that has lost it.

        :returns: False: it was ended or adopted meanwhile.
        """
        if self.forgotten:
            return False
        with self._lock:
            first, end = self._trimmed, self.written + len(self.unwritten)
            known = (self._events + self._pending[self._shown :])[: end - first]
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
            self._crowd = 0
            lost, self._lost = self._lost, []
        self._show()
        for callback in lost:
            callback()

    def _may_end(self, epoch: int) -> bool:
        """Who was the owner must not end what it has lost, or gives up."""
        if epoch == self.reign:
            return self.owned and not self._given_up
        return not self.owned

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
        return len(self._pending) - self._shown

    def _ending(self, terminal: Terminal, token: str, epoch: int | None, announced: bool) -> Ending:
        data = join([ready(terminal)])

        def work(engine: Engine) -> tuple[bool, Snapshot | Terminal]:
            own, written = self.owned, self.written + len(self.unwritten)
            for _ in range(ATTEMPTS):
                number = written if own else self._next(engine)
                fence = self.reign if own and epoch is None else epoch
                won = engine.end(
                    End(self.run_id, number, data, token, own, fence, announced=announced)
                )
                if won and own:
                    return True, terminal
                if won is None and own and self.revive(engine):
                    continue
                found = engine.load(self.run.id, self.tail)
                if found is None and own:
                    return False, self.as_forgotten()
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

    def _ended(self, answer: tuple[bool, Snapshot | Terminal]) -> None:
        _, said = answer
        if isinstance(said, Snapshot):
            self.settle(said)
        else:
            self._finish(said)

    def _finish(self, terminal: Terminal) -> bool:
        with self._lock:
            if self.ended:
                return False
            self._events += self._pending[self._shown :]
            self._shown = len(self._pending)
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

    def _make_room(self) -> None:
        if self.alone:
            self._show()
        else:
            self._wait_for_room()

    def _show(self) -> None:
        """Give readers what is not in the database."""
        with self._lock:
            self._events += self._pending[self._shown :]
            self._shown = len(self._pending)
            if len(self._events) > self._look_at:
                self._trim()
        self._wake()

    def _wait_for_room(self) -> None:
        waiter = self._store.process.waiter()
        while True:
            with self._lock:
                if self.ended or self.alone or len(self._pending) <= CROWD // 2:
                    return
                self._room.append(waiter.wake)
            self._store.scribe.hurry()
            waiter.wait()


def last_of(piece: Segment) -> int:
    return piece.first + len(piece.events) - 1
