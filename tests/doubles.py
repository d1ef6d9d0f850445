"""Test doubles for time and concurrency: deterministic, single-threaded, and never sleeping.

Only tests below the application need them. What applications use is in ``flask_aistream.testing``.
"""

from __future__ import annotations

import threading
import typing as t
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager

if t.TYPE_CHECKING:
    import asyncio

NEVER = float("inf")


class ManualClock:
    """A clock that moves only when a test advances it. Calling it returns the time.

    :param now: Initial time, in seconds.
    """

    def __init__(self, now: float = 1000.0) -> None:
        self._now = now
        self._alarms: list[ManualAlarm] = []

    def __call__(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Move time forward. Alarms due meanwhile ring in order, each at its own time."""
        end = self._now + seconds
        while (alarm := self._next()) is not None and alarm.due <= end:
            self._ring(alarm)
        self._now = end

    def skip(self) -> bool:
        """Advance to the next alarm.

        :returns: False if none is set.
        """
        alarm = self._next()
        if alarm is not None:
            self._ring(alarm)
        return alarm is not None

    def alarm(self, ring: Callable[[], object]) -> ManualAlarm:
        """An alarm on this clock. ``ring`` is called when it is due."""
        self._alarms.append(ManualAlarm(self, ring))
        return self._alarms[-1]

    def _next(self) -> ManualAlarm | None:
        due = [alarm for alarm in self._alarms if alarm.due < NEVER]
        return min(due, key=lambda alarm: alarm.due, default=None)

    def _ring(self, alarm: ManualAlarm) -> None:
        self._now = max(self._now, alarm.due)
        alarm.due = NEVER
        alarm.ring()


class ManualAlarm:
    """Rings once, ``delay`` seconds after each ``set``."""

    def __init__(self, clock: ManualClock, ring: Callable[[], object]) -> None:
        self.due = NEVER
        self.ring = ring
        self._clock = clock

    def set(self, delay: float) -> None:
        self.due = self._clock() + delay


class ManualConcurrency:
    """Concurrent tasks, run one after the other in the test's thread.

    A spawned task runs when the test calls ``run()`` or when a waiter waits. If no task is left then,
    the clock advances to the next alarm.
    """

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self._tasks: deque[ManualTask] = deque()

    def run(self) -> None:
        """Run all tasks, those spawned meanwhile included."""
        while self._tasks:
            self._tasks.popleft().run()

    def spawn(self, work: Callable[[], None]) -> ManualTask:
        self._tasks.append(ManualTask(work))
        return self._tasks[-1]

    def spawn_thread(self, work: Callable[[], None]) -> None:
        self.spawn(work)

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        callback()

    def waiter(self) -> ManualWaiter:
        return ManualWaiter(self)

    def alarm(self, ring: Callable[[], None]) -> ManualAlarm:
        return self.clock.alarm(ring)

    def lock(self) -> AbstractContextManager[object]:
        return threading.Lock()

    def yield_control(self) -> None:
        """There is no other thread to yield to."""

    def asyncio_loop(self) -> asyncio.AbstractEventLoop:
        raise NotImplementedError("An async provider needs a real loop: test it through the app.")


class ManualTask:
    """:ivar interrupted: ``interrupt`` was called."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.alive = True
        self.interrupted = False
        self._work = work

    def run(self) -> None:
        try:
            if not self.interrupted:
                self._work()
        finally:
            self.alive = False

    def interrupt(self) -> None:
        self.interrupted = True


class ManualWaiter:
    """:ivar wakes: Number of ``wake`` calls."""

    def __init__(self, concurrency: ManualConcurrency) -> None:
        self.wakes = 0
        self._woken = False
        self._concurrency = concurrency

    def wait(self) -> None:
        """Run tasks and advance time until woken.

        :raises AssertionError: No task and no alarm is left that could wake it.
        """
        self._concurrency.run()
        while not self._woken:
            assert self._concurrency.clock.skip(), "A waiter waits and nothing is left to wake it."
            self._concurrency.run()
        self._woken = False

    def wake(self) -> None:
        self.wakes += 1
        self._woken = True
