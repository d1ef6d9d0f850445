"""Logs in this process. Fast, and gone with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Sequence
from contextlib import AbstractContextManager

from flask_aistream.core.events import Event
from flask_aistream.core.events import Terminal
from flask_aistream.core.run import Run
from flask_aistream.errors import ChatBusy
from flask_aistream.errors import LogEnded
from flask_aistream.errors import RunNotFound
from flask_aistream.errors import StoreFull
from flask_aistream.errors import TooManyRuns
from flask_aistream.stores.base import CHAT_RUNS
from flask_aistream.stores.base import LISTED
from flask_aistream.stores.base import UNCONDITIONAL
from flask_aistream.stores.base import Conditions
from flask_aistream.stores.base import Orphan
from flask_aistream.stores.base import OutboxRow
from flask_aistream.stores.limits import UNLIMITED
from flask_aistream.stores.limits import Limits
from flask_aistream.stores.log import LogBuffer

RUN_BYTES = 2000
EVENT_BYTES = 60
"""Memory of a run, and of each of its events, besides its text."""


class MemoryLog(LogBuffer):
    """One run's events in a list.

    :ivar created_at: When it was created, by ``clock``.
    :ivar ended_at: When it ended.
    """

    def __init__(
        self,
        run: Run,
        first: Sequence[Event],
        limits: Limits,
        clock: Callable[[], float],
        lock: AbstractContextManager[object],
        owned: bool = True,
        publish: Callable[[MemoryLog], None] = lambda log: None,
    ) -> None:
        super().__init__(run, first, limits, lock)
        self.owned = owned
        self.created_at = clock()
        self.ended_at = 0.0
        self._publish = publish
        self._clock = clock

    @property
    def epoch(self) -> int:
        return int(self.owned)

    def append(self, event: Event) -> None:
        with self._lock:
            if self.ended:
                raise LogEnded(f"Run {self.run.id} has ended: nothing can be appended.")
            self._events.append(event)
            if len(self._events) > self._measure_at:
                self._trim()
        if self._waiting:
            self._wake()

    def end(self, terminal: Terminal, *, epoch: int | None = None, claim: bool = False) -> bool:
        with self._lock:
            if self.ended or epoch not in (None, self.epoch):
                return False
            self._events.append(terminal)
            self.ended_at = self._clock()
            self.ended = True
        if claim:  # No other process could deliver it.
            self._publish(self)
        self._wake()
        return True

    def weigh(self) -> int:
        """Count what was appended since the last time, and trim it if need be.

        :returns: Bytes of memory, approximately.
        """
        with self._lock:
            self._trim()
            self._measure()
            return RUN_BYTES + self.run.size + EVENT_BYTES * len(self._events) + self._bytes

    def release(self) -> bool:
        return False

    def on_lost(self, callback: Callable[[], None]) -> None:
        """It never is: only this process can end it, and the store is as alive as its owner."""

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
    :param lock: Makes a lock for short sections; see ``Concurrency.lock``.
    """

    shared = False

    def __init__(
        self,
        limits: Limits = UNLIMITED,
        *,
        clock: Callable[[], float] = time.monotonic,
        lock: Callable[[], AbstractContextManager[object]] = threading.Lock,
    ) -> None:
        self._limits = limits
        self._full = False
        self._clock = clock
        self._logs: dict[str, MemoryLog] = {}
        self._keys: dict[str, str] = {}
        self._chats: dict[str, list[str]] = {}
        self._by_owner: dict[str, list[MemoryLog]] = {}
        self._left: dict[str, str] = {}
        self._delivering: set[str] = set()
        self._outbox: dict[str, MemoryLog] = {}
        self._make_lock = lock
        self._lock = lock()

    def create(
        self,
        run: Run,
        first: Sequence[Event],
        *,
        owned: bool = True,
        conditions: Conditions = UNCONDITIONAL,
    ) -> tuple[MemoryLog, bool]:
        log = MemoryLog(
            run, first, self._limits, self._clock, self._make_lock(), owned, self._publish
        )
        with self._lock:
            if run.key is not None and run.key in self._keys and not conditions.take_key:
                return self._logs[self._keys[run.key]], False
            if self._full:
                raise StoreFull
            account, limit = run.account, conditions.owner_limit
            if limit is not None and account is not None and self._running(account) >= limit:
                raise TooManyRuns(limit)
            if run.chat is not None:
                self._enter(run.chat, run.id, conditions.previous)
            self._logs[run.id] = log
            if account is not None:
                self._by_owner.setdefault(account, []).append(log)
            if run.key is not None:
                self._keys[run.key] = run.id
        return log, True

    def _enter(self, chat: str, run_id: str, previous: str | None) -> None:
        newest = self._chats[chat][-1] if chat in self._chats else ""
        if previous is not None and (
            newest != previous or (newest and not self._logs[newest].ended)
        ):
            raise ChatBusy(newest)
        self._chats.setdefault(chat, []).append(run_id)

    def adopt(self, run_id: str, epoch: int = 0) -> MemoryLog | None:
        # Any owner is in this process, and as alive.
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
        with self._lock:
            newest = self._chats.get(chat, [None])[-1]
            return None if newest == self._left.get(chat) else newest

    def leave_chat(self, chat: str, run_id: str) -> None:
        with self._lock:
            if self._chats.get(chat, [None])[-1] == run_id:
                self._left[chat] = run_id

    def chat_runs(self, chat: str, *, live: bool = False) -> Sequence[str]:
        with self._lock:
            newest = self._chats.get(chat, [])[-CHAT_RUNS:]
            return [it for it in newest if not (live and self._logs[it].ended)]

    def all_runs(self) -> Sequence[str]:
        with self._lock:
            return list(self._logs)[-LISTED:]

    def undelivered(self, run_ids: Collection[str]) -> Collection[str]:
        with self._lock:
            return {it for it in run_ids if it in self._outbox or it in self._delivering}

    def drop(self, run_id: str) -> bool:
        with self._lock:
            log = self._logs.get(run_id)
            if log is not None and log.ended and run_id not in self._outbox:
                self._drop(log.run)
            return run_id not in self._logs

    def _running(self, account: str) -> int:
        running = [log for log in self._by_owner.pop(account, ()) if not log.ended]
        if running:
            self._by_owner[account] = running
        return len(running)

    def orphans(self, queued: float | None = None) -> Sequence[Orphan]:
        if queued is None:
            return []
        old = self._clock() - queued
        with self._lock:
            waiting = [log for log in self._logs.values() if not (log.owned or log.ended)]
        return [Orphan(log, 0) for log in waiting if log.created_at <= old]

    def claim(self, busy: Collection[str]) -> Sequence[OutboxRow]:
        # A row is claimed once: the process that could crash in a delivery is this one.
        with self._lock:
            outbox, self._outbox = self._outbox, {}
            self._delivering |= set(outbox)
        return [OutboxRow(run_id, 1) for run_id in outbox]

    def delivered(self, run_id: str) -> None:
        """The claim has deleted the row."""
        with self._lock:
            self._delivering.discard(run_id)

    def flush(self) -> None:
        """Every call has taken effect when it returns."""

    def close(self) -> None:
        """There is nothing to release."""

    def take_durations(self) -> Sequence[float]:
        return ()

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
        if self._limits.retain is not None:
            old = sum(now - log.ended_at >= self._limits.retain for log in finished)
        many = len(finished) - self._limits.max_runs if self._limits.max_runs is not None else 0
        return max(old, many)

    def _overweight(self, logs: list[MemoryLog], finished: list[MemoryLog]) -> int:
        """How many of the finished runs, oldest first, exceed the bytes together with the living."""
        if self._limits.store_bytes is None:
            return 0
        surplus = sum(log.weigh() for log in logs) - self._limits.store_bytes
        count = 0
        while surplus > 0 and count < len(finished):
            surplus -= finished[count].weigh()
            count += 1
        self._full = surplus > 0
        return count

    def _publish(self, log: MemoryLog) -> None:
        with self._lock:
            self._outbox[log.run.id] = log

    def _drop(self, run: Run) -> None:
        if self._logs.pop(run.id, None) is None:
            return  # By another sweep.
        self._outbox.pop(run.id, None)
        if run.account is not None:
            self._running(run.account)  # Forgets those that have ended.
        if run.key is not None and self._keys.get(run.key) == run.id:
            del self._keys[run.key]
        self._delivering.discard(run.id)
        if run.chat is not None:
            self._leave(run.chat, run.id)

    def _leave(self, chat: str, run_id: str) -> None:
        runs = self._chats[chat]
        runs.remove(run_id)
        if not runs:
            del self._chats[chat]
            self._left.pop(chat, None)
