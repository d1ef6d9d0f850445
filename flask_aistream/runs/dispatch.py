"""The queue of runs that wait for a worker, as the runner of a process sees it.

What is in it are tickets; the runs themselves wait in the store, where nobody owns them.
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
    :param enqueue: Puts a ticket where a worker will find it. Raises where it cannot.
    :param seconds: Longest time a run may wait; ``None`` for any.
    """

    def __init__(
        self,
        enqueue: Callable[[str], object],
        seconds: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seconds = seconds
        self._enqueue = enqueue
        self._clock = clock
        self._put_at: dict[str, float] = {}

    def put(self, run: Run, epoch: int = 0) -> bool:
        """Let a worker make a run.

        :param epoch: Owners it has had.
        :returns: False: the queue is away, which is in the log.
        """
        try:
            self._enqueue(ticket_of(run.id, epoch))
        except Exception:
            logger.exception("Run %s could not be put into the queue", run.id)
            return False
        return True

    def put_again(self, run: Run, epoch: int) -> bool:
        """Let another worker go on with a run. Every process does so once, and one worker takes it.

        :returns: False: it cannot be done, or none has taken it in time.
        """
        ticket = ticket_of(run.id, epoch)
        if ticket not in self._put_at:
            self._put_at[ticket] = self._clock()
            return self.put(run, epoch)
        return self.seconds is None or self._clock() - self._put_at[ticket] < self.seconds

    def forget_all_but(self, orphans: Sequence[Orphan]) -> None:
        """What is not among these has been taken."""
        waiting = {ticket_of(log.run.id, epoch) for log, epoch in orphans}
        self._put_at = {ticket: at for ticket, at in self._put_at.items() if ticket in waiting}
