"""What is said of a run once it is over: all that billing, history and monitoring need."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field
from functools import cached_property

from flask_aistream.core.cursor import BEGINNING
from flask_aistream.core.events import Terminal
from flask_aistream.core.events import Usage
from flask_aistream.core.fold import STATUS
from flask_aistream.core.fold import Fold
from flask_aistream.core.run import Run
from flask_aistream.stores.base import Log


@dataclass(frozen=True)
class RunEnded:
    """One run, after its end. Told exactly once a run, however it ended.

    ``text``, ``usage`` and ``message`` read the log when first asked for.

    :param outcome: The terminal event: ``Finished``, ``Stopped``, ``Failed`` or ``Interrupted``.
    :param seconds: From start to end; of a run that has waited in a queue, since a worker took it.
    :param first_seconds: From start to the first thing the provider said; ``None``: it said nothing.
    """

    run: Run
    outcome: Terminal
    seconds: float
    first_seconds: float | None
    _log: Log = field(repr=False, compare=False)

    @cached_property
    def message(self) -> Fold:
        """Everything the run said, also where it was cut off."""
        return fold_of(self._log)

    @property
    def status(self) -> str:
        """The outcome in a word: ``finished``, ``stopped``, ``failed`` or ``interrupted``."""
        return STATUS[type(self.outcome)]

    @property
    def text(self) -> str:
        return self.message.text

    @property
    def usage(self) -> Usage | None:
        """Tokens used, as far as the provider told."""
        return self.message.usage


def fold_of(log: Log) -> Fold:
    """All that a log holds, folded."""
    return folded(log)[0]


def folded(log: Log) -> tuple[Fold, int]:
    """The same, and the number of the last record in it; of a trimmed log, the fold has fewer."""
    fold = Fold()
    number = BEGINNING
    while (page := log.read(number)).events:
        fold.add(page.events)
        number = page.last
    return fold, number
