"""Follow a run: the records after a cursor, as they are written.

Between two pages lies the flush interval: a fast provider's tokens gather meanwhile and leave as one
write. A token after a pause finds nobody resting and leaves at once, and so does the end: it is the last
page anyway.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Iterator

from flask_aistream.core.events import Event
from flask_aistream.core.page import Page
from flask_aistream.errors import StoreUnavailable
from flask_aistream.stores.base import PAGE
from flask_aistream.stores.base import Log
from flask_aistream.timing.concurrency import Waiter
from flask_aistream.timing.flush import FlushInterval
from flask_aistream.timing.timer import Timer


class Tail:
    """One reader's place in one log. Iterating blocks.

    Yields pages, and ``None`` when a heartbeat is due. Ends after the terminal record, or when closed.

    :param after: Number of the last record read.
    :param heartbeat: Longest silence, in seconds; ``None`` for any.
    :param flush_interval: Has the shortest time between two pages.
    """

    __slots__ = (
        "_beat",
        "_clock",
        "_closed",
        "_flush_interval",
        "_heartbeat",
        "_last_call",
        "_log",
        "_number",
        "_rests",
        "_silent",
        "_timer",
        "_waiter",
        "_wake",
        "_wrote",
    )

    def __init__(
        self,
        log: Log,
        after: int,
        waiter: Waiter,
        timer: Timer,
        *,
        heartbeat: float | None,
        flush_interval: FlushInterval,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._number = after
        self._waiter = waiter
        self._wake = waiter.wake
        self._timer = timer
        self._heartbeat = heartbeat
        self._flush_interval = flush_interval
        self._clock = clock
        self._wrote = clock()
        self._silent = False
        self._rests = False
        self._closed = False
        self._last_call = False
        self._beat = timer.call_later(heartbeat, self._check_silence) if heartbeat else None

    def __iter__(self) -> Iterator[Page | None]:
        log, waiter, flush_interval, clock = (
            self._log,
            self._waiter,
            self._flush_interval,
            self._clock,
        )
        while not self._closed:
            page = log.read(self._number)
            first, events, ended = page
            if events or ended:
                now = clock()
                due = flush_interval.next_write(now)
                self._number = first + len(events) - 1
                self._silent = False
                self._wrote = now
                yield page
                if ended or self._last_call:
                    break
                if len(events) == PAGE:
                    continue
                # Whoever rests asks to be told when it has rested: what comes meanwhile costs no call.
                if due > now:
                    self._rest_until(due)
                else:
                    self._listen()
            elif self._last_call:
                break
            else:
                if self._silent:
                    self._silent = False
                    self._wrote = clock()
                    yield None
                self._listen()
            waiter.wait()
        self.close()

    def wait_beyond(self, number: int, seconds: float) -> Event | None:
        """The first event after record ``number``, as soon as there is one; ``None`` where there is none
        after ``seconds``, or none will come. It is still to be iterated."""
        deadline = self._clock() + seconds
        alarm = self._timer.call_later(seconds, self._wake)
        page = Page(number + 1, (), ended=False)
        while not (page.events or page.ended or self._closed or self._clock() >= deadline):
            self._log.notify(number, self._wake)  # At once where there is one already.
            self._waiter.wait()
            page = self._log.read(number, limit=1)
        alarm.cancel()
        return page.events[0] if page.events else None

    def finish(self) -> None:
        """End the iteration after one more page, if there is one; from any thread."""
        self._last_call = True
        self._wake()

    def close(self, *, wake: bool = True) -> None:
        """End the iteration, from any thread.

        :param wake: Else the reader sleeps on, if it sleeps, until this is called again.
        """
        self._closed = True
        if self._beat:
            self._beat.cancel()
        self._log.forget(self._wake)
        if wake:
            self._wake()

    def _rest_until(self, due: float) -> None:
        self._timer.call_at_flush(due, self._rested)
        if not self._rests:
            self._rests = True
            self._log.notify_end(self._wake)
            self._forget_if_closed()

    def _listen(self) -> None:
        self._log.notify(self._number, self._wake)
        self._forget_if_closed()

    def _forget_if_closed(self) -> None:
        if self._closed:  # By another thread, meanwhile.
            self._log.forget(self._wake)

    def _rested(self) -> None:
        if self._closed:
            return
        try:
            self._listen()
        except StoreUnavailable:  # The reader asks once more, where it can be told.
            self._wake()

    def _check_silence(self) -> None:
        if self._closed or self._heartbeat is None:
            return
        rest = self._wrote + self._heartbeat - self._clock()
        if rest <= 0:
            self._silent = True
            self._wake()
            rest = self._heartbeat
        self._beat = self._timer.call_later(rest, self._check_silence)
