"""Follow a run: the records after a cursor, as they are written.

Between two pages lies the flush interval: a fast provider's tokens gather meanwhile and leave as one
write. A token after a pause finds nobody resting and leaves at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from flask_aistream.core.page import Page
from flask_aistream.runs.concurrency import Waiter
from flask_aistream.runs.timer import Timer
from flask_aistream.stores.base import PAGE
from flask_aistream.stores.base import Log


class Tail:
    """One reader's place in one log. Iterating blocks.

    Yields pages, and ``None`` when a heartbeat is due. Ends after the terminal record, or when closed.

    :param after: Number of the last record read.
    :param heartbeat: Longest silence, in seconds; ``None`` for any.
    :param flush: Shortest time between two pages, in seconds.
    """

    def __init__(
        self,
        log: Log,
        after: int,
        waiter: Waiter,
        timer: Timer,
        *,
        heartbeat: float | None,
        flush: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._number = after
        self._waiter = waiter
        self._timer = timer
        self._heartbeat = heartbeat
        self._flush = flush
        self._clock = clock
        self._wrote = clock()
        self._earliest = 0.0
        self._resting = False
        self._listening = False
        self._silent = False
        self._finished = False
        self._closed = False
        self._beat = timer.later(heartbeat, self._check_silence) if heartbeat else None

    def __iter__(self) -> Tail:
        return self

    def __next__(self) -> Page | None:
        if self._resting:
            self._resting = False
            self._listen()
            self._waiter.wait()
        while not (self._closed or self._finished):
            page = self._log.read(self._number)
            if page.events or page.ended:
                return self._turn(page)
            if self._silent:
                self._silent = False
                self._wrote = self._clock()
                return None
            self._listen()
            self._waiter.wait()
        self.close()
        raise StopIteration

    def wait_beyond(self, number: int, seconds: float) -> None:
        """Return once there is a record after ``number``, or ``seconds`` have passed. Reads nothing."""
        deadline = self._clock() + seconds
        alarm = self._timer.later(seconds, self._waiter.wake)
        while not self._closed and self._clock() < deadline:
            page = self._log.read(number, limit=1)
            if page.events or page.ended:
                break
            self._log.notify(number, self._news)
            self._waiter.wait()
        alarm.cancel()

    def close(self) -> None:
        """End the iteration, from any thread."""
        self._closed = True
        if self._beat:
            self._beat.cancel()
        self._log.forget(self._news)
        self._waiter.wake()

    def _turn(self, page: Page) -> Page:
        self._number = page.last
        self._wrote = self._clock()
        self._silent = False
        self._finished = page.ended
        if len(page.events) < PAGE and self._flush:
            self._resting = not page.ended
            self._earliest = self._wrote + self._flush
        return page

    def _listen(self) -> None:
        if not (self._listening or self._closed):
            self._listening = True
            self._log.notify(self._number, self._news)

    def _news(self) -> None:
        # Asked once a page, not once a token: whoever rests is not told of what comes after the first.
        self._listening = False
        if self._clock() < self._earliest:
            self._timer.soon(self._earliest, self._waiter.wake)
        else:
            self._waiter.wake()

    def _check_silence(self) -> None:
        if self._closed or self._heartbeat is None:
            return
        rest = self._wrote + self._heartbeat - self._clock()
        if rest <= 0:
            self._silent = True
            self._waiter.wake()
            rest = self._heartbeat
        self._beat = self._timer.later(rest, self._check_silence)
