"""The contract of an engine: the part of a shared store that talks to one kind of database.

:mod:`~flask_aistream.stores.shared` does everything else: it gathers, numbers, publishes and waits.
An engine is called by one worker only, so it needs no lock; it blocks, and raises what its driver
raises. After such a fault the same call is made again: it must notice that it was done already.
"""

from __future__ import annotations

import typing as t
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Sequence
from contextlib import AbstractContextManager

from flask_aistream.core.events import TERMINAL
from flask_aistream.core.events import Event
from flask_aistream.core.run import Run
from flask_aistream.stores.codec import EncodedEvent
from flask_aistream.stores.codec import join

DEAD_SECONDS = 3.0
"""A process whose heartbeat was not seen for so long is dead, and its runs are interrupted."""

BEAT_SECONDS = 0.5


class Batch(t.NamedTuple):
    """Neighbouring events of one run, on their way into the store.

    :param first: Number of the first one.
    :param data: A JSON array, all ASCII.
    :param epoch: Of the owner who says it; see ``Log.epoch``.
    """

    run: str
    first: int
    size: int
    data: str
    epoch: int

    @classmethod
    def of(cls, run: str, first: int, said: Sequence[EncodedEvent], epoch: int) -> Batch:
        return cls(run, first, len(said), join(said), epoch)


class End(t.NamedTuple):
    """An attempt to end a run.

    :param number: Of the terminal event, or a later one.
    :param data: A JSON array with it.
    :param token: Indexes this attempt, so that it knows itself again.
    :param exactly: Only if the log is just that long; else also if it is shorter, or longer where the
        engine can tell.
    :param epoch: Only if the run is of this one; ``None``: of any.
    :param announced: This process is to announce it.
    """

    run: str
    number: int
    data: str
    token: str
    exactly: bool
    epoch: int | None
    announced: bool


class Segment(t.NamedTuple):
    """Neighbouring events of one run, read from the store."""

    first: int
    events: list[Event]

    def after(self, number: int) -> Segment:
        """Without the records up to this number: in a log that was written anew, a piece may begin
        before what was asked for."""
        known = max(number + 1 - self.first, 0)
        return Segment(self.first + known, self.events[known:])


class Snapshot(t.NamedTuple):
    """What the store has of a run, from some number on."""

    run: Run
    pieces: list[Segment]
    epoch: int

    @property
    def size(self) -> int:
        return sum(len(piece.events) for piece in self.pieces)

    @property
    def ended(self) -> bool:
        return any(isinstance(piece.events[-1], TERMINAL) for piece in self.pieces if piece.events)


class Listener(t.Protocol):
    """Whom an engine tells what others did. Any thread may call it."""

    def arrived(self, run_id: str, pieces: Sequence[Segment]) -> None:
        """LogBuffer of a followed run."""
        ...

    def stale(self, run_id: str | None) -> None:
        """Something may have been missed of a run (``None``: of any); look again."""
        ...


class Engine(t.Protocol):
    @property
    def native(self) -> bool:
        """Called in an OS thread even where gevent has patched everything."""
        ...

    def is_outage(self, error: Exception) -> bool:
        """Whether the driver reports the database as unavailable: connection, timeout, lock, space or damage.

        Any other error belongs to the one call that raised it.
        """
        ...

    def open(self, listener: Listener) -> None:
        """Connect. Called again after a fault."""
        ...

    def close(self) -> None: ...

    def together(self) -> AbstractContextManager[object]:
        """Around the calls of one round: all happen or, where the database can do that, none.

        Nested, around one of these calls: if it raises, its own writes alone are undone.
        """
        ...

    def create(self, run: Run, begin: Batch, most: int | None = None) -> str:
        """
        :param most: Runs that its owner may have at once.
        :param begin: Of epoch 0 where the run is to wait for its owner.
        :returns: Id of the run that has ``run.key`` now: this one's, unless there was another.
        :raises TooManyRuns: It would be one too many; nothing was written.
        """
        ...

    def restore(self, run: Run, everything: Batch) -> bool:
        """Write a living run of this process anew: the database has lost some of it, or all.

        :returns: False: it has ended, or has a later owner.
        """
        ...

    def adopt(self, run_id: str, epoch: int) -> bool:
        """Make this process the owner of a run that has not ended and is of this epoch, and the run
        one of the next.

        :returns: Whether that is so now.
        """
        ...

    def release(self, run_id: str, epoch: int) -> bool:
        """Let a run of this process and this epoch that has not ended belong to nobody.

        :returns: Whether that is so now.
        """
        ...

    def write(self, batches: Sequence[Batch]) -> Iterable[str]:
        """
        :returns: Ids of runs that refused: ended or unknown, or not just as long as the batch expects,
            or of a later epoch.
        """
        ...

    def end(self, end: End) -> bool | None:
        """Write the terminal event.

        :returns: Whether it ended the run; ``None``: the log is not that long, or there is none.
        """
        ...

    def load(self, run_id: str, after: int) -> Snapshot | None:
        """Every record after number ``after``; ``None``: there is no such run."""
        ...

    def follow(self, run_id: str, after: int) -> Sequence[Segment]:
        """Tell the listener of every record after ``after`` that is not among those returned."""
        ...

    def unfollow(self, run_id: str) -> None: ...

    def missing(self, run_ids: Collection[str]) -> set[str]:
        """Those of these runs that are not in the database."""
        ...

    def repair(self, runs: Sequence[Run]) -> set[str]:
        """Write again whatever the database has lost by which this process's living runs are found.

        :returns: Ids of those whose records are missing; see ``restore``.
        """
        ...

    def forget(self, run_id: str) -> None:
        """Let go of a run of this process that is not in the database, for good."""
        ...

    def poll(self) -> None:
        """Look for news, where nobody brings them."""
        ...

    @property
    def rest(self) -> float | None:
        """Seconds until the next ``poll``; ``None`` for never."""
        ...

    def followers(self, run_id: str) -> bool:
        """Whether any process follows the run."""
        ...

    def started(self, key: str) -> str | None:
        """Id of the run that has this key."""
        ...

    def latest(self, chat: str) -> str | None: ...
    def leave_chat(self, chat: str, run_id: str) -> None: ...
    def running(self, owner: str) -> int: ...

    def beat(self) -> None:
        """Show that this process lives. Called while it owns runs; ``create`` does it too."""
        ...

    def orphans(self) -> list[tuple[str, int]]:
        """Ids and epochs of runs without a process, or whose process does not beat any more."""
        ...

    def told(self, run_id: str) -> None:
        """The end of a run was announced by this process."""
        ...

    def untold(self, doubtful: Collection[str]) -> list[str]:
        """Let this process announce the ends that were to be announced by the processes which the last
        call of ``orphans`` found to be dead.

        :param doubtful: Runs that this process may have ended without having heard of it.
        :returns: Ids of these runs. Some of others that this process is to announce may be among them.
        """
        ...

    def sweep(self) -> bool:
        """Forget what the bounds say.

        :returns: There is no room for another run: what has not ended is too much already.
        """
        ...
