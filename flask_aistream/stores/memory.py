"""Logs in this process. Fast, and gone with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from collections.abc import Sequence
from contextlib import AbstractContextManager

from flask_aistream.core.events import Event
from flask_aistream.core.events import Terminal
from flask_aistream.core.run import Run
from flask_aistream.errors import LogEnded
from flask_aistream.errors import RunNotFound
from flask_aistream.errors import StoreFull
from flask_aistream.errors import TooManyRuns
from flask_aistream.stores.base import Orphan
from flask_aistream.stores.limits import UNLIMITED
from flask_aistream.stores.limits import Limits
from flask_aistream.stores.log import LogBuffer

RUN_BYTES = 2000
EVENT_BYTES = 60
"""What a run, and each of its events, takes in memory besides its text."""


class MemoryLog(LogBuffer):
    """One run's events in a list.

    :ivar created_at: When it was created, by ``clock``.
    :ivar ended_at: When it ended.
    """

    def __init__(
        self,
        run: Run,
        first: Sequence[Event],
        bounds: Limits,
        clock: Callable[[], float],
        lock: AbstractContextManager[object],
        owned: bool = True,
    ) -> None:
        super().__init__(run, first, bounds, lock)
        self.owned = owned
        self.created_at = clock()
        self.ended_at = 0.0
        self._clock = clock

    @property
    def epoch(self) -> int:
        return int(self.owned)

    def append(self, event: Event) -> None:
        with self._lock:
            if self.ended:
                raise LogEnded(f"Run {self.run.id} has ended: nothing can be said after the end.")
            self._events.append(event)
            if len(self._events) > self._look_at:
                self._trim()
        if self._waiting:
            self._wake()

    def end(self, terminal: Terminal, *, epoch: int | None = None, announced: bool = False) -> bool:
        with self._lock:
            if self.ended or epoch not in (None, self.epoch):
                return False
            self._events.append(terminal)
            self.ended_at = self._clock()
            self.ended = True
        self._wake()
        return True

    def weigh(self) -> int:
        """Count what has come since the last time, and trim it if need be.

        :returns: Bytes of memory, about.
        """
        with self._lock:
            self._trim()
            self._count()
            return RUN_BYTES + self.run.size + EVENT_BYTES * len(self._events) + self._bytes

    def announce(self, tell: Callable[[], None]) -> None:
        tell()

    def release(self) -> bool:
        return False

    def on_lost(self, callback: Callable[[], None]) -> None:
        """It never is: who ends it is in this process, and the store is as alive as its owner."""

    def adopt(self) -> bool:
        with self._lock:
            mine = not (self.owned or self.ended)
            self.owned = self.owned or mine
        return mine

    def followed(self) -> bool:
        return False


class MemoryStore:
    """Logs in this process.

    :param clock: Seconds, monotonic.
    :param lock: Makes a lock for short sections; see ``Spawner.lock``.
    """

    shared = False

    def __init__(
        self,
        bounds: Limits = UNLIMITED,
        *,
        clock: Callable[[], float] = time.monotonic,
        lock: Callable[[], AbstractContextManager[object]] = threading.Lock,
    ) -> None:
        self._bounds = bounds
        self._full = False
        self._clock = clock
        self._logs: dict[str, MemoryLog] = {}
        self._keys: dict[str, str] = {}
        self._chats: dict[str, str] = {}
        self._make_lock = lock
        self._lock = lock()

    def create(
        self, run: Run, first: Sequence[Event], *, owned: bool = True, most: int | None = None
    ) -> tuple[MemoryLog, bool]:
        log = MemoryLog(run, first, self._bounds, self._clock, self._make_lock(), owned)
        with self._lock:
            if run.key is not None and run.key in self._keys:
                return self._logs[self._keys[run.key]], False
            if self._full:
                raise StoreFull
            if most is not None and run.owner is not None and self._running(run.owner) >= most:
                raise TooManyRuns(most)
            self._logs[run.id] = log
            if run.key is not None:
                self._keys[run.key] = run.id
            if run.chat is not None:
                self._chats[run.chat] = run.id
        return log, True

    def adopt(self, run_id: str, epoch: int = 0) -> MemoryLog | None:
        # Whoever has owned it is in this process, and as alive.
        log = self._logs.get(run_id)
        return log if log is not None and not epoch and log.adopt() else None

    def open(self, run_id: str) -> MemoryLog:
        try:
            return self._logs[run_id]
        except KeyError:
            raise RunNotFound(run_id) from None

    def started(self, key: str) -> MemoryLog | None:
        with self._lock:
            run_id = self._keys.get(key)
            return self._logs[run_id] if run_id is not None else None

    def latest(self, chat: str) -> str | None:
        return self._chats.get(chat)

    def leave_chat(self, chat: str, run_id: str) -> None:
        with self._lock:
            if self._chats.get(chat) == run_id:
                del self._chats[chat]

    def running(self, owner: str) -> int:
        with self._lock:
            return self._running(owner)

    def _running(self, owner: str) -> int:
        return sum(not log.ended and log.run.owner == owner for log in self._logs.values())

    def orphans(self, queued: float | None = None) -> Sequence[Orphan]:
        if queued is None:
            return []
        old = self._clock() - queued
        with self._lock:
            waiting = [log for log in self._logs.values() if not (log.owned or log.ended)]
        return [Orphan(log, 0) for log in waiting if log.created_at <= old]

    def untold(self) -> Sequence[MemoryLog]:
        return []

    def flush(self) -> None:
        """It is all there."""

    def close(self) -> None:
        """There is nothing to let go of."""

    def sweep(self) -> None:
        now = self._clock()
        with self._lock:
            logs = list(self._logs.values())
        finished = sorted((log for log in logs if log.ended), key=lambda log: log.ended_at)
        count = max(self._surplus(finished, now), self._overweight(logs, finished))
        with self._lock:
            for log in finished[:count]:
                self._drop(log.run)

    def _surplus(self, finished: list[MemoryLog], now: float) -> int:
        """How many of the finished runs, oldest first, are too old or too many."""
        old = 0
        if self._bounds.retain is not None:
            old = sum(now - log.ended_at >= self._bounds.retain for log in finished)
        many = len(finished) - self._bounds.max_runs if self._bounds.max_runs is not None else 0
        return max(old, many)

    def _overweight(self, logs: list[MemoryLog], finished: list[MemoryLog]) -> int:
        """How many of the finished runs, oldest first, are too much together with the living."""
        if self._bounds.store_bytes is None:
            return 0
        surplus = sum(log.weigh() for log in logs) - self._bounds.store_bytes
        count = 0
        while surplus > 0 and count < len(finished):
            surplus -= finished[count].weigh()
            count += 1
        self._full = surplus > 0
        return count

    def _drop(self, run: Run) -> None:
        if self._logs.pop(run.id, None) is None:
            return  # Another sweep has been here.
        if run.key is not None:
            self._keys.pop(run.key, None)
        if run.chat is not None and self._chats.get(run.chat) == run.id:
            del self._chats[run.chat]
