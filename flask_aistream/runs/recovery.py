"""Runs without an owner: restart them here, dispatch them to a worker, or end them."""

from __future__ import annotations

import logging

from flask_aistream.core import events as ev
from flask_aistream.runs.adoption import OWNER_LOST
from flask_aistream.runs.adoption import Adoption
from flask_aistream.runs.announcer import Announcer
from flask_aistream.runs.dispatch import DispatchQueue
from flask_aistream.runs.restart import RestartRule
from flask_aistream.runs.termination import Termination
from flask_aistream.stores.base import Log
from flask_aistream.stores.base import Store

logger = logging.getLogger("flask_aistream")

QUEUE_TIMEOUT = ev.Failed("queue_timeout", "No worker was free to make this answer in time.", 503)


class Recovery:
    """
    :param queue: Dispatches runs to other processes; ``None``: they are restarted in this process.
    """

    def __init__(
        self,
        store: Store,
        termination: Termination,
        adoption: Adoption,
        restarts: RestartRule,
        announcer: Announcer,
        queue: DispatchQueue | None,
    ) -> None:
        self._store = store
        self._termination = termination
        self._adoption = adoption
        self._restarts = restarts
        self._announcer = announcer
        self._queue = queue

    def recover(self, *, restart_here: bool) -> None:
        """See :meth:`Runner.recover`.

        :param restart_here: Whether this process may restart runs.
        """
        queue = self._queue
        orphans = self._store.orphans(queue.max_seconds if queue else None)
        if queue:
            queue.keep_only(orphans)
        for log, epoch in orphans:
            if not epoch:
                self._time_out(log)
            elif not self._restarts.allows(log.run, epoch):
                self._termination.end(log, OWNER_LOST, epoch)
            elif queue:
                if not queue.put_again(log.run, epoch):
                    self._termination.end(log, OWNER_LOST, epoch)
            elif restart_here:
                self._adoption.restart(log.run.id, epoch)
        self._announcer.poll()

    def _time_out(self, log: Log) -> None:
        if self._termination.end(log, QUEUE_TIMEOUT, 0):
            logger.error(
                "Run %.8s of %r timed out in the queue: no worker took it. Is a worker running, with the same code "
                "and the same store?",
                log.run.id,
                log.run.provider,
            )
