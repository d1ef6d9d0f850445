"""Follow a run: the records after a cursor, as they are written.

Two pages are at least one flush interval apart, so the tokens of a fast provider leave in one write. A token after
a pause leaves at once, and so does the terminal event, which is on the last page in any case.
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
    """One reader's position in one log. Iterating blocks.

    Yields pages, and ``None`` when a heartbeat is due. Ends after the terminal record, or when closed or drained.

    One thread iterates. :meth:`close`, :meth:`drain` and the timer's callbacks run in other threads: they set a flag and
    wake the iterating thread, which reads the flag. None of them reads the log.

    :param after: Number of the last record read.
    :param heartbeat: Longest silence, in seconds; ``None``: no heartbeats.
    :param flush_interval: Minimum time between two pages.
    """

    __slots__ = (
        "_clock",
        "_closed",
        "_draining",
        "_flush_interval",
        "_heartbeat",
        "_heartbeat_due",
        "_heartbeat_timer",
        "_last_page_at",
        "_log",
        "_number",
        "_timer",
        "_waiter",
        "_waits_for_end",
        "_wake",
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
        self._last_page_at = clock()
        # Set by the timer, cleared by the iterating thread.
        self._heartbeat_due = False
        # The registration with notify_end() is made once and stays until close().
        self._waits_for_end = False
        # Set by any thread, never cleared.
        self._closed = False
        self._draining = False
        self._heartbeat_timer = (
            timer.call_later(heartbeat, self._check_silence) if heartbeat else None
        )

    def __iter__(self) -> Iterator[Page | None]:
        while not self._closed:
            page = self._log.read(self._number)
            if page.events or page.ended:
                now = self._clock()
                due = self._flush_interval.next_write(now)
                self._number = page.last
                self._heartbeat_due = False
                self._last_page_at = now
                yield page
                if page.ended or self._draining:
                    break
                if len(page.events) == PAGE:
                    continue
                # Re-register only after the flush interval: appends meanwhile need no wake-up.
                if due > now:
                    self._listen_at(due)
                else:
                    self._listen()
            elif self._draining:
                break
            else:
                if self._heartbeat_due:
                    self._heartbeat_due = False
                    self._last_page_at = self._clock()
                    yield None
                self._listen()
            self._waiter.wait()
        self.close()

    def wait_for_event(self, after: int, timeout: float) -> Event | None:
        """Wait for the first event after record ``after``, without reading past it.

        :param timeout: In seconds.
        :returns: The event; ``None`` after the timeout, when the tail is closed, or if the log has ended before it.
        """
        deadline = self._clock() + timeout
        alarm = self._timer.call_later(timeout, self._wake)
        page = Page(after + 1, (), ended=False)
        while not (page.events or page.ended or self._closed or self._clock() >= deadline):
            self._log.notify(after, self._wake)  # Wakes at once if the event is there.
            self._waiter.wait()
            page = self._log.read(after, limit=1)
        alarm.cancel()
        return page.events[0] if page.events else None

    def drain(self) -> None:
        """Yield the records that are in the log now, then end the iteration. Any thread may call it."""
        self._draining = True
        self._wake()

    def close(self, *, wake: bool = True) -> None:
        """End the iteration, and cancel the heartbeat. Idempotent; any thread may call it.

        :param wake: Wake the iterating thread, so that it returns now. If false, a waiting thread returns at the next
            call of this method.
        """
        self._closed = True
        if self._heartbeat_timer:
            self._heartbeat_timer.cancel()
        self._log.forget(self._wake)
        if wake:
            self._wake()

    def _listen_at(self, due: float) -> None:
        self._timer.call_at_flush(due, self._on_flush)
        if not self._waits_for_end:
            self._waits_for_end = True
            self._log.notify_end(self._wake)
            self._forget_if_closed()

    def _listen(self) -> None:
        self._log.notify(self._number, self._wake)
        self._forget_if_closed()

    def _forget_if_closed(self) -> None:
        # close() may have run between the iteration's check and the registration.
        if self._closed:
            self._log.forget(self._wake)

    def _on_flush(self) -> None:
        if self._closed:
            return
        try:
            self._listen()
        except StoreUnavailable:
            self._wake()  # The iterating thread calls the store again, and raises the error.

    def _check_silence(self) -> None:
        if self._closed or self._heartbeat is None:
            return
        remaining = self._last_page_at + self._heartbeat - self._clock()
        if remaining <= 0:
            self._heartbeat_due = True
            self._wake()
            remaining = self._heartbeat
        self._heartbeat_timer = self._timer.call_later(remaining, self._check_silence)
