"""The contracts of a store and of the logs it holds."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Sequence
from dataclasses import dataclass

from flask_aistream.core.events import Event
from flask_aistream.core.events import Terminal
from flask_aistream.core.page import Page
from flask_aistream.core.run import Run

Wake = Callable[[], None]

LISTED = 1000
"""Maximum number of runs in a list of all."""

PAGE = 4096
"""Maximum number of events in one page: about 150 kB of native frames, one write."""


CHAT_RUNS = 20
"""Runs of one chat that a store can list."""


class Log(t.Protocol):
    """All events of one run: append-only, numbered gapless from 0, closed by one terminal event.

    One process owns it: the one that created it or adopted it last. Only the owner appends; any process may
    read and end it. Every method may be called from any thread or greenlet of the process.
    """

    @property
    def run(self) -> Run: ...

    @property
    def owned(self) -> bool:
        """Whether this process is the owner, as far as it knows."""

    @property
    def epoch(self) -> int:
        """Number of owners that the run has had, as far as this process knows; 0: none yet."""

    @property
    def ended(self) -> bool:
        """Whether the terminal event is in the log. Cheap: called once per token."""

    @property
    def terminal(self) -> Terminal | None:
        """The terminal event; ``None`` while the run has none. O(1): reads no other event."""

    @property
    def tail(self) -> int:
        """Number of the last record that :meth:`read` returns now. O(1)."""

    @property
    def size(self) -> int:
        """Bytes of all events so far, approximately and as of a few events ago; trimmed ones count. O(1)."""

    def append(self, event: Event) -> None:
        """Append one event that is not terminal. Readers see it once it is durable.

        Returns at once. Blocks only while the store cannot keep up (backpressure).

        :raises LogEnded: The run has ended, or has another owner; nothing was appended.
        """

    def end(self, terminal: Terminal, *, epoch: int | None = None, claim: bool = False) -> bool:
        """Append the terminal event, unless there is one, and a row to the outbox. May block until the store answers.

        :param epoch: End the run only in this epoch; ``None``: in any.
        :param claim: Let this process claim the row before any other; see :meth:`Store.claim`.
        :returns: Whether this call ended the run. True for exactly one caller, in all processes, unless
            the store was unavailable for too long: then also for the owner, whose readers see its end.
        :raises StoreUnavailable: The store is unavailable, and another process owns the run.
        """

    def release(self) -> bool:
        """Release the run, so that another process can adopt it. Its records are durable when this returns, and no
        further ones are appended. Called by the owner only.

        :returns: False if nothing changed: the run has ended, has another owner, or no process could adopt it.
        """

    def on_lost(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once this process should stop working on the run. The callback must not block.

        Reasons: another process has ended the run; another process has adopted it (``owned`` is then false); or the
        store has been unavailable for too long. In the last case ``end`` still ends the log for the readers of this
        process.
        """

    def followed(self) -> bool:
        """Whether another process reads the log. Called by the owner only."""

    def read(self, after: int, limit: int = PAGE) -> Page:
        """Return the records after number ``after``, and whether they are the last ones, atomically.

        :raises CursorInvalid: ``after`` is beyond the last record.
        """

    def notify(self, after: int, wake: Wake) -> None:
        """Call ``wake`` once, when the log has a record after number ``after``, which may be now.

        ``wake`` must not block. The appending thread may call it.

        :raises StoreUnavailable: Another process owns the run, and the store has been unavailable for too long.
        """

    def notify_end(self, wake: Wake) -> None:
        """Call ``wake`` once, when the run has ended, which may be now. Otherwise as :meth:`notify`."""

    def forget(self, wake: Wake) -> None:
        """Cancel the pending calls of ``wake``."""


class Orphan(t.NamedTuple):
    """A run without a live owner: the owner is dead or has released the run, or the run never had one.

    :param epoch: Epoch in which the run was found. Another process may have adopted it since.
    """

    log: Log
    epoch: int


class OutboxRow(t.NamedTuple):
    """The end of a run, still to be delivered to its receivers.

    :param attempt: Number of this claim of the row; the first one is 1.
    :param claimant: Process that may deliver it now; empty for any.
    """

    run: str
    attempt: int
    claimant: str = ""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What must hold for a run to be created. It is checked and the run is created in one step, in all processes.

    :param owner_limit: ``run.account`` has fewer live runs than this; ``None``: unlimited.
    :param take_key: An earlier run with ``run.key`` does not prevent the new one, and loses the key to it.
    :param previous: This run is the newest of ``run.chat``, and has ended; ``""``: the chat has no run; ``None``: any.
    """

    owner_limit: int | None = None
    take_key: bool = False
    previous: str | None = None


UNCONDITIONAL = Conditions()


class Store(t.Protocol):
    """Holds the logs. Every method may be called from any thread or greenlet of the process.

    Methods of a shared store block until it answers, and raise ``StoreUnavailable`` while it is unavailable.
    """

    @property
    def shared(self) -> bool:
        """Whether other processes see the same logs."""

    def create(
        self,
        run: Run,
        first: Sequence[Event],
        *,
        owned: bool = True,
        conditions: Conditions = UNCONDITIONAL,
    ) -> tuple[Log, bool]:
        """Create a log that begins with ``first``, or open the log of the run that has the same ``run.key``.

        :param owned: False creates the run without an owner, to be adopted by another process.
        :returns: The log, and whether it is new. Of all other calls with one key, exactly one creates the log.
        :raises StoreFull: At the last sweep, the runs that have not ended exceeded the size limit.
        :raises TooManyRuns: See ``Conditions.owner_limit``.
        :raises ChatBusy: See ``Conditions.previous``.
        """

    def adopt(self, run_id: str, epoch: int = 0) -> Log | None:
        """Become the owner of a run that has had ``epoch`` owners. Appends of the previous owner are rejected from
        then on (it is fenced), even before it learns of the adoption.

        :returns: The log; ``None`` if the run has ended, has a later epoch, or belongs to this process already.
            Of concurrent callers, in all processes, exactly one gets the log.
        """

    def open(self, run_id: str) -> Log:
        """Open the log of a run, with all records that are durable now.

        :raises RunNotFound: There is no such run, or it was dropped.
        :raises RunUnreadable: The records are in a format that this version cannot read.
        """

    def started(self, key: str) -> Log | None:
        """Open the log of the run that has this idempotency key (see ``Run.key``); ``None``: no run has it."""

    def latest(self, chat: str) -> str | None:
        """Return the id of the newest run of ``chat`` (see ``Run.chat``); ``None``: there is none."""

    def leave_chat(self, chat: str, run_id: str) -> None:
        """Make ``latest(chat)`` return ``None``, unless a newer run than ``run_id`` was created for the chat.

        Queued; does not block."""

    def drop(self, run_id: str) -> bool:
        """Drop a run that has ended.

        :returns: Whether there is no such run any more; False if it has not ended, or its end is still to be delivered.
        """

    def chat_runs(self, chat: str, *, live: bool = False) -> Sequence[str]:
        """Return the ids of the newest ``CHAT_RUNS`` runs of a chat, oldest first, also after ``leave_chat``.

        :param live: Only those that have not ended.
        """

    def all_runs(self) -> Sequence[str]:
        """Return the ids of up to ``LISTED`` runs of the application, of all owners and in any order."""

    def undelivered(self, run_ids: Collection[str]) -> Collection[str]:
        """Return which of these runs have an outbox row: their end is still to be delivered, or being delivered."""

    def orphans(self, queued: float | None = None) -> Sequence[Orphan]:
        """Return the runs without a live owner. Called every half second.

        :param queued: Include runs that have waited for their first owner for this many seconds; ``None``: none.
        """

    def claim(self, busy: Collection[str]) -> Sequence[OutboxRow]:
        """Claim the outbox rows that no process or a dead process has claimed, and those that this process has claimed
        but is not delivering. Called after ``orphans``.

        :param busy: Ids of the runs whose rows this process is delivering now.
        """

    def delivered(self, run_id: str) -> None:
        """Delete the row of a run from the outbox. Queued; does not block."""

    def flush(self) -> None:
        """Block until all earlier calls are durable, or the store is unavailable."""

    def sweep(self) -> None:
        """Drop the oldest ended runs until the rest is within the limits. Called every few seconds."""

    def take_durations(self) -> Sequence[float]:
        """Return the seconds of the commits since the last call, or of the newest thousands of them; none for a store
        that has no commits. Does not block."""

    def close(self) -> None:
        """Write pending records and release all resources. No method may be called after it."""
