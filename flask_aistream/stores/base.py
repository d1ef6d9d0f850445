"""The contract of a store: what every place for logs promises."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Sequence

from flask_aistream.core.events import Event
from flask_aistream.core.events import Terminal
from flask_aistream.core.page import Page
from flask_aistream.core.run import Run

Wake = Callable[[], None]

PAGE = 4096
"""Events of one page at most: about 150 kB of native frames, one write."""


class Log(t.Protocol):
    """All events of one run: append-only, numbered gapless from 0, closed by one terminal event.

    One process owns it, the one that created it or adopted it last, and only the owner appends; any
    process may read and end it. Every method may be called from any thread or greenlet of the process.
    """

    @property
    def run(self) -> Run: ...

    @property
    def owned(self) -> bool:
        """This process is the owner, as far as it knows."""

    @property
    def epoch(self) -> int:
        """How many owners the run has had, as far as this process knows; 0: none yet."""

    @property
    def ended(self) -> bool:
        """The terminal event is in the log. Cheap: it is asked once a token."""

    @property
    def terminal(self) -> Terminal | None:
        """The terminal event, once it is in the log; ``None`` before. O(1): reads no other event."""

    @property
    def tail(self) -> int:
        """Number of the last record that :meth:`read` returns now. O(1)."""

    def append(self, event: Event) -> None:
        """Append one event that is not terminal. Readers see it once it is durable.

        Returns at once, unless the store cannot keep up: then it waits.

        :raises LogEnded: The terminal event is there already, or the run has another owner; nothing
            was appended.
        """

    def end(self, terminal: Terminal, *, epoch: int | None = None, claim: bool = False) -> bool:
        """Append the terminal event, unless there is one, and a row to the outbox. May wait for the store.

        :param epoch: Only while the run has had so many owners; ``None``: however many.
        :param claim: This process is the first that may deliver the row; see :meth:`Store.claim`.
        :returns: Whether this call ended the run. True for exactly one caller, in all processes, unless
            the store was unavailable for too long: then also for the owner, whose readers see its end.
        :raises StoreUnavailable: The store is unavailable, and another process owns the run.
        """

    def release(self) -> bool:
        """Give up the run, for another process to adopt. Every record is durable then, and no other is
        appended. Only for the owner.

        :returns: False: it has ended, has another owner, or no other process could adopt it; nothing changed.
        """

    def on_lost(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when the owner should stop working on this run: another process has
        ended it, or has adopted it (then it is not ``owned`` any more), or the store has been unavailable
        for too long. It must not block.

        In the last case ``end`` still closes the log for the readers of this process.
        """

    def followed(self) -> bool:
        """Whether another process reads the log. Asked by the owner."""

    def read(self, after: int, limit: int = PAGE) -> Page:
        """The records after number ``after``, and whether these are the last, in one step.

        :raises CursorInvalid: ``after`` is beyond the last record.
        """

    def notify(self, after: int, wake: Wake) -> None:
        """Call ``wake`` once, as soon as there is a record after number ``after``: now, or when one
        is appended. It must not block; the appending thread may call it.

        :raises StoreUnavailable: Another process owns the run, and the store has been unavailable for too long.
        """

    def notify_end(self, wake: Wake) -> None:
        """The same, only when the run has ended."""

    def forget(self, wake: Wake) -> None:
        """Take back what was not called yet."""


class Orphan(t.NamedTuple):
    """A run that no process works on: its owner is dead, or has released it, or it never had one.

    :param epoch: That of which this is true; by now it may have been adopted.
    """

    log: Log
    epoch: int


class OutboxRow(t.NamedTuple):
    """An outbox row that this process has claimed: the end of a run, still to be delivered to its receivers.

    :param attempt: Number of this claim of the row; the first one is 1.
    """

    log: Log
    attempt: int


class Store(t.Protocol):
    """Holds the logs. Every method may be called from any thread or greenlet of the process.

    Those that ask a shared store wait for it, and raise ``StoreUnavailable`` while it is unavailable.
    """

    @property
    def shared(self) -> bool:
        """Whether other processes see the same logs."""

    def create(
        self, run: Run, first: Sequence[Event], *, owned: bool = True, most: int | None = None
    ) -> tuple[Log, bool]:
        """A new log that begins with ``first``; or, if ``run.key`` is taken, the log that has it.

        :param owned: False: it waits for the process that will :meth:`adopt` it.
        :param most: Runs that its owner may have at once, in all processes; ``None`` for any number.
        :returns: The log, and whether it is new. For one key that is true for one caller only.
        :raises StoreFull: At the last sweep, the runs that have not ended exceeded the limit already.
        :raises TooManyRuns: Its owner has ``most`` runs.
        """

    def adopt(self, run_id: str, epoch: int = 0) -> Log | None:
        """Become the owner of a run that has had ``epoch`` owners. From then on no append of the last
        owner reaches the log, whether it knows about the adoption or not.

        :returns: Its log; ``None``: it has ended, has had more owners, or is this process's already.
            Of many callers, in all processes, one gets it.
        """

    def open(self, run_id: str) -> Log:
        """The log of a run, as far as it has come.

        :raises RunNotFound: There is none, or it was dropped.
        :raises RunUnreadable: Its records are not in a format that this version reads.
        """

    def started(self, key: str) -> Log | None:
        """The log of the run that has this idempotency key (see ``Run.key``)."""

    def latest(self, chat: str) -> str | None:
        """Id of the run created last for ``chat`` (see ``Run.chat``)."""

    def leave_chat(self, chat: str, run_id: str) -> None:
        """Have ``latest`` find no run for ``chat`` any more, unless a later run than ``run_id`` was
        created for it. Does not wait for the store, and does not block."""

    def running(self, owner: str) -> int:
        """Runs of an owner that have not ended, in all processes."""

    def orphans(self, queued: float | None = None) -> Sequence[Orphan]:
        """Runs that no process works on. Called every half second.

        :param queued: Also those that have waited for their first owner for so many seconds.
        """

    def claim(self, busy: Collection[str]) -> Sequence[OutboxRow]:
        """Claim rows of the outbox: those that no process has claimed, those of dead processes, and those
        of this process that it is not delivering. Called after ``orphans``.

        :param busy: Runs whose rows this process is delivering now.
        """

    def delivered(self, run_id: str) -> None:
        """Delete the row of a run from the outbox. Does not wait for the store, and does not block."""

    def flush(self) -> None:
        """Return once every call so far is durable, or the store is unavailable."""

    def sweep(self) -> None:
        """Drop finished runs that exceed the limits, the oldest first. Called every few seconds."""

    def close(self) -> None:
        """Write what is left and release everything. Nothing may be called after it."""
