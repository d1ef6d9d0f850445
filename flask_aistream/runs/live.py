"""A run while it is being pumped in this process: what its runner has to know of it."""

from __future__ import annotations

import math
from collections.abc import Callable

from flask_aistream.core.request import ChatRequest
from flask_aistream.runs.bridge import LoopTask
from flask_aistream.runs.concurrency import Task
from flask_aistream.runs.pump import Pump
from flask_aistream.runs.timer import Handle
from flask_aistream.stores.base import Log


class Live:
    """A run that is being pumped in this process."""

    __slots__ = (
        "epoch",
        "followed",
        "interrupted",
        "leaving",
        "log",
        "loop_task",
        "on_over",
        "owed",
        "pump",
        "request",
        "started",
        "task",
        "until",
    )

    def __init__(self, log: Log, request: ChatRequest, pump: Pump, started: float) -> None:
        self.log = log
        self.epoch = log.epoch
        self.request = request
        self.pump = pump
        self.started = started
        self.task: Task | None = None
        self.loop_task: LoopTask | None = None  # A plain function may return something async.
        self.interrupted = False
        self.followed = False  # In another process, when we last looked.
        self.owed = 0
        self.on_over: Callable[[], None] = nothing
        self.leaving: Handle | None = None
        self.until = math.inf  # By the clock: when it is too old.

    @property
    def working(self) -> bool:
        return any(task is not None and task.alive for task in (self.task, self.loop_task))

    def interrupt(self) -> None:
        """End the provider's work where it stands, or as soon as it begins."""
        self.interrupted = True
        if self.task is not None:
            self.task.interrupt()
        # Asked for only now: until it was interrupted, the first task may have begun the other.
        if self.loop_task is not None:
            self.loop_task.interrupt()

    def begun(self) -> None:
        """The work has a task now. Whoever interrupted it before had nothing to interrupt."""
        if self.interrupted:
            self.interrupt()


def nothing() -> None:
    """What is to be done where nobody said."""
