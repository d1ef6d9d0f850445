"""The contract of an engine: the part of a shared store that talks to one kind of database.

:mod:`~flask_aistream.stores.shared` does everything else: it batches, numbers, publishes and waits.

An engine is called by the writer of its process only, one call at a time, so it needs no lock. It blocks,
and raises what its driver raises. After an error the same call is made again with the same values, and has
to notice that it was done already. It keeps no events: the log of the owner is the only copy in memory.

A run has an *epoch*, the number of owners it has had. An adoption begins the next one; from then on the
database refuses whatever a former owner appends (a fence).
"""

from __future__ import annotations

import typing as t
from collections.abc import Collection
from collections.abc import Sequence
from contextlib import AbstractContextManager

from flask_aistream.core.events import TERMINAL
from flask_aistream.core.events import Event
from flask_aistream.core.run import Run
from flask_aistream.stores.codec import encode

DEAD_SECONDS = 3.0
"""A process whose heartbeat was missing for so long is dead, and its runs are interrupted."""

BEAT_SECONDS = 0.5

Name = t.Literal["key", "chat", "owner"]
"""By what a run is found besides its id."""


class Batch(t.NamedTuple):
    """Neighbouring records of one run, to be appended.

    :param first: Number of the first one.
    :param data: A JSON array, all ASCII.
    :param epoch: Of the owner that appends them.
    :param keep: Records before this number are to be dropped; 0: none.
    """

    run: str
    first: int
    size: int
    data: str
    epoch: int
    keep: int = 0

    @classmethod
    def of(cls, run: str, first: int, events: Sequence[Event], epoch: int, keep: int = 0) -> Batch:
        return cls(run, first, len(events), encode(events), epoch, keep)


class Segment(t.NamedTuple):
    """Neighbouring records of one run, in memory."""

    first: int
    events: list[Event]

    @property
    def next(self) -> int:
        return self.first + len(self.events)

    def after(self, number: int) -> Segment:
        """Without the records up to this number."""
        known = max(number + 1 - self.first, 0)
        return Segment(self.first + known, self.events[known:])


class End(t.NamedTuple):
    """An attempt to end a run.

    :param number: Of the terminal event; a later one where the log is longer, unless ``log`` is given.
    :param terminal: The terminal event.
    :param token: Names this attempt, so that the engine recognises it when it is made again.
    :param log: Every record before it, from the owner. The log in the database must be exactly as long.
    :param epoch: Only if the run is of this one; ``None``: of any.
    :param outbox: Writes an outbox row that this process may claim first (True) or any process (False);
        ``None``: writes none.
    """

    run: str
    number: int
    terminal: Event
    token: str
    log: Segment | None
    epoch: int | None
    outbox: bool | None

    @property
    def data(self) -> str:
        return encode([self.terminal])


class Snapshot(t.NamedTuple):
    """What the database holds of a run, from some number on."""

    run: Run
    segments: list[Segment]
    epoch: int

    @property
    def ended(self) -> bool:
        return any(isinstance(it.events[-1], TERMINAL) for it in self.segments if it.events)


class Listener(t.Protocol):
    """Gets what other processes write. Any thread may call it."""

    def arrived(self, run_id: str, segments: Sequence[Segment]) -> None:
        """Records of a followed run."""

    def stale(self, run_id: str | None) -> None:
        """Records of a run (``None``: of any) may have been missed: it has to be loaded again."""


class Engine(t.Protocol):
    @property
    def native(self) -> bool:
        """It is called in an OS thread even where gevent has patched everything."""

    def is_outage(self, error: Exception) -> bool:
        """Whether the driver reports the database as unavailable: connection, timeout, lock, space or damage.

        Any other error belongs to the one call that raised it.
        """

    def open(self, listener: Listener | None) -> None:
        """Connect. Called again after an outage.

        :param listener: ``None``: only check that the database can be used.
        """

    def close(self) -> None: ...

    def transaction(self) -> AbstractContextManager[object]:
        """Around all calls of one round: all take effect or, where the database can do that, none.

        Nested, around the calls of one job: if it raises, its own writes alone are undone.
        """

    def create(self, run: Run, batch: Batch, most: int | None = None) -> str:
        """Add a run.

        :param batch: Its first records; of epoch 0 where the run waits for its owner.
        :param most: Runs that its owner may have at once.
        :returns: Id of the run that has ``run.key`` now: this one's, unless there was another.
        :raises TooManyRuns: Nothing was written.
        """

    def restore(self, run: Run, batch: Batch) -> bool:
        """Write a run of this process as a whole: the database has lost some of it, or all.

        :returns: False: it has ended, or has a later owner.
        """

    def assign(self, run_id: str, epoch: int, *, adopt: bool) -> bool:
        """Change the owner of a run that has not ended and is of this epoch.

        :param adopt: This process becomes the owner, in the next epoch. Else this process, the owner, gives
            it up, and the run waits for another.
        :returns: Whether that is so now.
        """

    def append(self, batches: Sequence[Batch]) -> Collection[str]:
        """
        :returns: Ids of runs that refused: ended, unknown, of a later epoch, or not exactly as long as the
            batch expects.
        """

    def end(self, end: End) -> bool | None:
        """Append the terminal event and, in the same step, add the outbox row.

        :returns: Whether it ended the run; ``None``: there is no such run, or its log has another length.
        """

    def load(self, run_id: str, after: int) -> Snapshot | None:
        """Every record after number ``after``; ``None``: there is no such run.

        :raises RunUnreadable: It is not in a format of this version.
        """

    def follow(self, run_ids: Collection[str]) -> None:
        """Send the listener what is appended to exactly these runs. For each that is new, the listener's
        ``stale`` is called once its news arrive."""

    def followed(self, run_id: str) -> bool:
        """Whether any process follows the run."""

    def poll(self) -> None:
        """Look for news, where the database does not push them."""

    @property
    def rest(self) -> float | None:
        """Seconds until the next ``poll``; ``None``: it is not needed."""

    def find(self, kind: Name, value: str) -> list[str]:
        """Ids of runs: the one that has a key, the latest of a chat, all of an owner that have not ended."""

    def leave_chat(self, chat: str, run_id: str) -> None:
        """Have no run up to this one found by its chat."""

    def heartbeat(self, runs: Collection[Run]) -> None:
        """Show that this process lives, and enter it and its living runs again wherever others look for
        them: a key may have been evicted."""

    def ended(self, run_ids: Collection[str]) -> dict[str, bool]:
        """Whether each of these runs has ended; without those that the database does not have."""

    def orphans(self) -> list[tuple[str, int]]:
        """Ids and epochs of living runs without a process, or whose process is dead."""

    def claim(self, busy: Collection[str]) -> list[tuple[str, int]]:
        """Claim outbox rows that no process has claimed, that dead processes have (as of the last call of
        ``orphans``), or that this process has, except those of ``busy``: all rows that were never claimed
        before or, if there are none, see :func:`choose`.

        :returns: Ids of the runs, and how often each row was claimed.
        """

    def delivered(self, run_id: str) -> None:
        """Delete the outbox row of a run, if it is this process's."""

    def sweep(self) -> bool:
        """Drop what exceeds the limits.

        :returns: There is no room for another run: the living ones alone exceed the limit.
        """


class OutboxRow(t.NamedTuple):
    """
    :param attempt: How often it will have been claimed.
    :param claimant: Process that may deliver it now; empty for any.
    """

    run: str
    attempt: int
    claimant: str


def choose(rows: Sequence[OutboxRow], busy: Collection[str]) -> list[OutboxRow]:
    """Which of the rows that a process may claim it claims now.

    A row that was claimed before may crash the process that delivers it. It is claimed alone, and the one
    with the fewest attempts first: a crash does not use up the attempts of other rows.

    :param rows: With those of ``busy``, which it is delivering.
    """
    free = [row for row in rows if row.run not in busy]
    new = [row for row in free if row.attempt == 1]
    retrying = any(row.run in busy and row.attempt > 2 for row in rows)
    if new or retrying or not free:
        return new
    return [min(free, key=lambda row: row.attempt)]
