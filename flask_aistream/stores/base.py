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

    Every method may be called from any thread or greenlet of the process.
    """

    @property
    def run(self) -> Run: ...

    @property
    def ended(self) -> bool:
        """The terminal event is in the log. Cheap: it is asked once a token."""
        ...

    def append(self, event: Event) -> None:
        """Write one event that is not terminal.

        :raises LogEnded: The terminal event is there already; nothing was written.
        """
        ...

    def end(self, terminal: Terminal) -> bool:
        """Write the terminal event, unless there is one.

        :returns: Whether this call ended the run. True for exactly one caller, whatever happens.
        """
        ...

    def read(self, after: int, limit: int = PAGE) -> Page:
        """The records after number ``after``, and whether that is all there will ever be, in one step.

        :raises CursorInvalid: ``after`` is beyond the last record.
        """
        ...

    def notify(self, after: int, wake: Wake) -> None:
        """Call ``wake`` once, as soon as there is a record after number ``after``: now, or when one
        is appended. It must not block; it may be called by the appending thread."""
        ...

    def forget(self, wake: Wake) -> None:
        """Take back a ``notify`` that was not called yet."""
        ...


class Store(t.Protocol):
    """Holds the logs. Every method may be called from any thread or greenlet of the process."""

    def create(self, run: Run, first: Sequence[Event]) -> tuple[Log, bool]:
        """A new log that begins with ``first``; or, if ``run.key`` is taken, the log that has it.

        :returns: The log, and whether it is new. For one key that is true for one caller only.
        """
        ...

    def open(self, run_id: str) -> Log:
        """The log of a run.

        :raises RunNotFound: There is none, or it was forgotten.
        """
        ...

    def started(self, key: str) -> Log | None:
        """The log of the run that has this idempotency key (see ``Run.key``)."""
        ...

    def latest(self, chat: str) -> str | None:
        """Id of the run created last for ``chat`` (see ``Run.chat``)."""
        ...

    def sweep(self) -> None:
        """Forget what the bounds say. Called every few seconds."""
        ...
