"""The contract of a store: what every place for logs promises."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
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
        ...

    @property
    def epoch(self) -> int:
        """How many owners the run has had, as far as this process knows; 0: none yet."""
        ...

    @property
    def ended(self) -> bool:
        """The terminal event is in the log. Cheap: it is asked once a token."""
        ...

    @property
    def terminal(self) -> Terminal | None:
        """The terminal event, once it is in the log; ``None`` before. O(1): reads no other event."""
        ...

    @property
    def tail(self) -> int:
        """Number of the last record that :meth:`read` returns now. O(1)."""
        ...

    def append(self, event: Event) -> None:
        """Write one event that is not terminal. Readers see it once it is in the store.

        It returns at once, unless the store cannot keep up: then it waits.

        :raises LogEnded: The terminal event is there already, or the run has another owner; nothing
            was written.
        """
        ...

    def end(self, terminal: Terminal, *, epoch: int | None = None, announced: bool = False) -> bool:
        """Write the terminal event, unless there is one. May wait for the store.

        :param epoch: Only while the run has had so many owners; ``None``: however many.
        :param announced: The caller is going to :meth:`announce` it. If its process dies before that is
            done, another one is asked to (``Store.untold``).
        :returns: Whether this call ended the run. True for exactly one caller, in all processes; but
            see :meth:`announce`.
        :raises StoreUnavailable: The store is away, and the log belongs to another process.
        """
        ...

    def announce(self, tell: Callable[[], None]) -> None:
        """Call ``tell``, and have the store know that it is told. Only after ``end`` or ``Store.untold``
        has said that it is this process's to tell.

        Where the store was away when the run ended, ``tell`` is called beside everything else once it
        is back, and not at all if another process has ended the run meanwhile.
        """
        ...

    def release(self) -> bool:
        """Give up the run, for another process to adopt. All that was said is in the store then, and
        nothing more will be. Only for the owner.

        :returns: False: it has ended, has another owner, or nobody else could adopt it; nothing changed.
        """
        ...

    def on_lost(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when the owner should no longer work on this run: another process has
        ended it, or has adopted it (then it is not ``owned`` any more), or the store has been away for
        too long. It must not block.

        In the last case ``end`` still closes the log for the readers of this process.
        """
        ...

    def followed(self) -> bool:
        """Whether somebody reads the log in another process. Asked by the owner."""
        ...

    def read(self, after: int, limit: int = PAGE) -> Page:
        """The records after number ``after``, and whether that is all there will ever be, in one step.

        :raises CursorInvalid: ``after`` is beyond the last record.
        """
        ...

    def notify(self, after: int, wake: Wake) -> None:
        """Call ``wake`` once, as soon as there is a record after number ``after``: now, or when one
        is appended. It must not block; it may be called by the appending thread.

        :raises StoreUnavailable: The run is another process's, and the store has been away for too long.
        """
        ...

    def notify_end(self, wake: Wake) -> None:
        """The same, only when the run has ended."""
        ...

    def forget(self, wake: Wake) -> None:
        """Take back what was not called yet."""
        ...


class Orphan(t.NamedTuple):
    """A run that no process works on: its owner is gone, or has released it, or it never had one.

    :param epoch: That of which this is true; by now it may have been adopted.
    """

    log: Log
    epoch: int


class Store(t.Protocol):
    """Holds the logs. Every method may be called from any thread or greenlet of the process.

    Those that ask a shared store wait for it, and raise ``StoreUnavailable`` while it is away.
    """

    @property
    def shared(self) -> bool:
        """Whether other processes see the same logs."""
        ...

    def create(
        self, run: Run, first: Sequence[Event], *, owned: bool = True, most: int | None = None
    ) -> tuple[Log, bool]:
        """A new log that begins with ``first``; or, if ``run.key`` is taken, the log that has it.

        :param owned: False: it waits for the process that is to :meth:`adopt` it.
        :param most: Runs that its owner may have at once, in all processes; ``None`` for any number.
        :returns: The log, and whether it is new. For one key that is true for one caller only.
        :raises StoreFull: At the last sweep, the runs that have not ended were too much already.
        """
        ...

    def adopt(self, run_id: str, epoch: int = 0) -> Log | None:
        """Become the owner of a run that has had ``epoch`` owners. From then on nothing that the last
        one says is in the log, whether it knows it or not.

        :returns: Its log; ``None``: it has ended, has had more owners, or is this process's already.
            Of many who try, in all processes, one gets it.
        """
        ...

    def open(self, run_id: str) -> Log:
        """The log of a run, as far as it has come.

        :raises RunNotFound: There is none, or it was forgotten.
        """
        ...

    def started(self, key: str) -> Log | None:
        """The log of the run that has this idempotency key (see ``Run.key``)."""
        ...

    def latest(self, chat: str) -> str | None:
        """Id of the run created last for ``chat`` (see ``Run.chat``)."""
        ...

    def leave_chat(self, chat: str, run_id: str) -> None:
        """``latest`` is to find nothing for ``chat`` any more, unless a later run than ``run_id`` was
        created for it. It need not be done at once, and must not block."""
        ...

    def running(self, owner: str) -> int:
        """Runs of an owner that have not ended, in all processes."""
        ...

    def orphans(self, queued: float | None = None) -> Sequence[Orphan]:
        """Runs that no process works on. Called every half second.

        :param queued: Also those that have waited for their first owner for so many seconds.
        """
        ...

    def untold(self) -> Sequence[Log]:
        """Runs that have ended, but whose process is gone without having announced it. From now on that
        is the caller's to do. Called after ``orphans``.
        """
        ...

    def flush(self) -> None:
        """Return once everything said so far is in the store, or it is away."""
        ...

    def sweep(self) -> None:
        """Forget what the bounds say: finished runs, the oldest first. Called every few seconds."""
        ...

    def close(self) -> None:
        """Write what is left and let go of everything. Nothing may be called after it."""
        ...
