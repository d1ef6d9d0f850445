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
from flask_aistream.stores.base import UNCONDITIONAL
from flask_aistream.stores.base import Conditions
from flask_aistream.stores.base import OutboxRow
from flask_aistream.stores.codec import encode

DEAD_SECONDS = 3.0
"""A process whose heartbeat was missing for so long is dead, and its runs are interrupted."""

BEAT_SECONDS = 0.5

Name = t.Literal["key", "chat", "chat-runs", "chat-live", "all"]
"""Kind of a secondary index of the runs."""


class Batch(t.NamedTuple):
    """Neighbouring records of one run, to be appended.

    :param first: Number of the first one.
    :param data: A JSON array, all ASCII.
    :param epoch: Epoch of the owner that appends them.
    :param keep: Drop the records before this number; 0 drops none.
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

    def claimant(self, process: str) -> str | None:
        """Who may deliver the end; ``None`` for no row."""
        return None if self.outbox is None else process if self.outbox else UNCLAIMED


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


class Repaired(Exception):
    """A call failed for a reason that the engine has removed: the writer makes the calls of the job again."""


class Following(t.Protocol):
    """How a process learns what others write. It tells the listener of ``Engine.open``."""

    def follow(self, run_ids: Collection[str]) -> None:
        """Send the listener the appends to exactly these runs. Once the subscription to a new one is active, call the
        listener's ``stale`` for it."""

    def followed(self, run_id: str) -> bool:
        """Whether any process follows the run."""

    def poll(self) -> None:
        """Look for news, if the database does not push them: records of followed runs, and runs of this process that
        another one has ended or adopted."""

    @property
    def rest(self) -> float | None:
        """Seconds until the next ``poll``; ``None``: it is not needed."""


class Indexes(t.Protocol):
    """How runs are found besides their ids."""

    def find(self, kind: Name, value: str) -> list[str]:
        """Ids of runs: the one that has a key, the latest of a chat, all of a chat, the living ones of a chat, or up to
        ``LISTED`` of all (with the value ``""``)."""

    def leave_chat(self, chat: str, run_id: str) -> None:
        """Let ``find("chat", …)`` find neither this run nor an earlier one."""


class Outbox(t.Protocol):
    """Ends of runs that are to be delivered. A row is written by ``Engine.end``."""

    def claim(self, busy: Collection[str]) -> list[OutboxRow]:
        """Claim rows that no process has claimed, that dead processes have (as of the last call of ``orphans``), or
        that this process has, except those of ``busy``: all rows that were never claimed before or, if there are
        none, see :func:`choose`.
        """

    def delivered(self, run_id: str) -> None:
        """Delete the row of a run, if it is this process's."""

    def undelivered(self, run_ids: Collection[str]) -> Collection[str]:
        """Which of these runs have a row."""


class Retention(t.Protocol):
    """How long ended runs are kept."""

    def sweep(self) -> bool:
        """Drop ended runs that exceed the limits.

        :returns: Whether the store is full: the living runs alone exceed the limit.
        """

    def drop(self, run_id: str) -> bool:
        """Drop a run that has ended and has no outbox row.

        :returns: Whether there is no such run any more.
        """


class Engine(t.Protocol):
    @property
    def following(self) -> Following: ...

    @property
    def indexes(self) -> Indexes: ...

    @property
    def outbox(self) -> Outbox: ...

    @property
    def retention(self) -> Retention: ...

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
        """A context manager around all calls of one round. If it raises, a database with transactions undoes them all.

        Nested, around the calls of one job: if it raises, only the writes of that job are undone.

        :raises Repaired: Make the calls of the job again.
        """

    def create(
        self,
        run: Run,
        batch: Batch,
        conditions: Conditions = UNCONDITIONAL,
    ) -> str:
        """Create a run.

        :param batch: Its first records; in epoch 0 if the run waits for its first owner.
        :returns: Id of the run that has ``run.key`` now: the new one, unless an earlier run has the key.
        :raises TooManyRuns, ChatBusy: Nothing was written.
        """

    def restore(self, run: Run, batch: Batch) -> bool:
        """Write a whole run of this process again, after the database has lost a part of it, or all.

        :returns: False: the run has ended, or has a later owner.
        """

    def assign(self, run_id: str, epoch: int, *, adopt: bool) -> bool:
        """Change the owner of a run that has not ended and is in this epoch.

        :param adopt: True makes this process the owner, in the next epoch. False releases the run, which this process
            owns, to any other process.
        :returns: Whether the run has that owner now, or none.
        """

    def append(self, batches: Sequence[Batch]) -> Collection[str]:
        """Append each batch to the log of its run.

        :returns: Ids of the runs that rejected their batch: ended, unknown, in a later epoch, or of another length than
            the batch expects.
        """

    def end(self, end: End) -> bool | None:
        """Append the terminal event and, in the same step, add the outbox row.

        :returns: Whether it ended the run; ``None``: there is no such run, or its log has another length.
        """

    def load(self, run_id: str, after: int) -> Snapshot | None:
        """Read the records after number ``after``; ``None``: there is no such run.

        :raises RunUnreadable: The records are in a format that this version cannot read.
        """

    def heartbeat(self, runs: Collection[Run]) -> None:
        """Renew the heartbeat of this process, and write it and its living runs to the indexes again: a key may have
        been evicted."""

    def ended(self, run_ids: Collection[str]) -> dict[str, bool]:
        """Whether each of these runs has ended; without those that the database does not have."""

    def orphans(self) -> list[tuple[str, int]]:
        """Ids and epochs of living runs without a process, or whose process is dead."""


UNCLAIMED = ""


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
