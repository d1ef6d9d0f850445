"""The queue of runs that wait for a worker, seen from one process.

The queue holds tickets only. The runs are in the store, without an owner.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from collections.abc import Sequence

from flask_aistream.core.run import Run
from flask_aistream.core.run import ticket_of
from flask_aistream.stores.base import Orphan

logger = logging.getLogger("flask_aistream")


class DispatchQueue:
    """
    :param enqueue: Puts a ticket into the queue. Raises if it cannot.
    :param max_seconds: Maximum time that a run may wait; ``None``: unlimited.
    """

    def __init__(
        self,
        enqueue: Callable[[str], object],
        max_seconds: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_seconds = max_seconds
        self._enqueue = enqueue
        self._clock = clock
        self._put_at: dict[str, float] = {}

    def put(self, run: Run, epoch: int = 0) -> bool:
        """Enqueue a run for any worker.

        :param epoch: Number of owners that the run has had.
        :returns: False: the queue is unavailable, which is logged.
        """
        try:
            self._enqueue(ticket_of(run.id, epoch))
        except Exception:
            logger.exception("Run %.8s could not be put into the queue", run.id)
            return False
        return True

    def put_again(self, run: Run, epoch: int) -> bool:
        """Enqueue a run that has lost its owner, once. Every process does that, and one worker adopts the run.

        :returns: False: the queue is unavailable, or the run has waited for the maximum time.
        """
        ticket = ticket_of(run.id, epoch)
        if ticket not in self._put_at:
            self._put_at[ticket] = self._clock()
            return self.put(run, epoch)
        return self.max_seconds is None or self._clock() - self._put_at[ticket] < self.max_seconds

    def keep_only(self, orphans: Sequence[Orphan]) -> None:
        """Drop the waiting times of all other runs: workers have adopted them."""
        waiting = {ticket_of(log.run.id, epoch) for log, epoch in orphans}
        self._put_at = {ticket: at for ticket, at in self._put_at.items() if ticket in waiting}
