"""A run while it is being pumped in this process: what its runner has to know of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager

from flask_aistream.core import events as ev
from flask_aistream.core.request import ChatRequest
from flask_aistream.runs.bridge import LoopTask
from flask_aistream.runs.pump import Provider
from flask_aistream.runs.pump import Pump
from flask_aistream.runs.restart import ContextFactory
from flask_aistream.stores.base import Log
from flask_aistream.timing.concurrency import Task
from flask_aistream.timing.timer import Handle


class ActiveRun:
    """A run that is being pumped in this process.

    :param before: Tokens used before the run was restarted.
    """

    __slots__ = (
        "epoch",
        "followed",
        "interrupted",
        "leaving",
        "log",
        "loop_task",
        "on_over",
        "over",
        "owed",
        "pump",
        "request",
        "started",
        "task",
        "until",
    )

    def __init__(
        self,
        log: Log,
        provider: Provider,
        request: ChatRequest,
        context_factory: ContextFactory,
        clock: Callable[[], float],
        before: ev.Usage | None = None,
    ) -> None:
        self.log = log
        self.epoch = log.epoch
        self.request = request
        self.pump = Pump(provider, request, log, context_factory, clock, before)
        self.started = clock()
        self.task: Task | None = None
        self.loop_task: LoopTask | None = None  # A plain function may return something async.
        self.interrupted = False
        self.over = False  # Its provider has come to its end, or somebody ends it: once is enough.
        self.followed = False  # In another process, when we last looked.
        self.owed = 0  # Ends that somebody is about to tell.
        self.on_over: Callable[[], None] | None = None
        self.leaving: Handle | None = None
        self.until = math.inf  # By the clock: when it is too old.

    @property
    def working(self) -> bool:
        return any(task is not None and task.alive for task in (self.task, self.loop_task))

    def interrupt(self) -> None:
        """End the provider's work where it stands, or as soon as it begins."""
        self.interrupted = True
        self.pump.cut()
        if self.task is not None:
            self.task.interrupt()
        # Asked for only now: until it was interrupted, the first task may have begun the other.
        if self.loop_task is not None:
            self.loop_task.interrupt()

    def begun(self) -> None:
        """The work has a task now. Whoever interrupted it before had nothing to interrupt."""
        if self.interrupted:
            self.interrupt()

    def stay(self) -> None:
        """It is read again, or over: nobody is to look any more whether it was left."""
        if self.leaving is not None:
            self.leaving.cancel()


class ActiveRuns(dict[str, ActiveRun]):
    """All runs that are being pumped in this process, by their ids.

    :ivar lock: Of what is in here, and of who reads it. For a few steps that do not block.
    """

    def __init__(self, lock: AbstractContextManager[object]) -> None:
        super().__init__()
        self.lock = lock
