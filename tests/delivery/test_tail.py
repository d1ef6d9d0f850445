"""A log, followed."""

from __future__ import annotations

import threading
import typing as t

import pytest

from flask_aistream.core import events as ev
from flask_aistream.core.page import Page
from flask_aistream.delivery.tail import Tail
from flask_aistream.server.threads import Threads
from flask_aistream.stores.base import PAGE
from flask_aistream.stores.base import Log
from flask_aistream.stores.bounds import Bounds
from flask_aistream.stores.memory import MemoryStore
from flask_aistream.testing import DEADLINE
from flask_aistream.timing.concurrency import Waiter
from flask_aistream.timing.flush import FlushInterval
from flask_aistream.timing.timer import Timer
from tests.doubles import ManualClock
from tests.doubles import ManualConcurrency
from tests.runs.support import new_log
from tests.runs.support import until

FLUSH = 0.5
HEARTBEAT = 15.0


class Desk:
    """A log, and time at which things are written to it."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.log: Log = new_log(MemoryStore(clock=clock))
        self.concurrency = ManualConcurrency(clock)
        self.timer = Timer(self.concurrency, FlushInterval(FLUSH, clock=clock), clock)
        self.start = clock()

    def at(self, seconds: float, *events: ev.Event) -> None:
        """Write ``events`` at a time from the start."""

        def write() -> None:
            for event in events:
                if isinstance(event, ev.TERMINAL):
                    self.log.end(event)
                else:
                    self.log.append(event)

        self.clock.alarm(write).set(self.start + seconds - self.clock())

    def tail(
        self,
        after: int = 0,
        *,
        heartbeat: float | None = HEARTBEAT,
        flush: float = FLUSH,
        waiter: Waiter | None = None,
    ) -> Tail:
        return Tail(
            self.log,
            after,
            waiter or self.concurrency.waiter(),
            self.timer,
            heartbeat=heartbeat,
            flush_interval=FlushInterval(flush, clock=self.clock),
            clock=self.clock,
        )

    def follow(self, tail: Tail) -> list[tuple[float, list[ev.Event] | None]]:
        """What the tail gave out, and when."""
        return [
            (self.clock() - self.start, None if page is None else list(page.events))
            for page in tail
        ]


@pytest.fixture
def desk(clock: ManualClock) -> Desk:
    return Desk(clock)


END = ev.Finished()


def test_a_finished_log_is_read_in_one_page(desk: Desk) -> None:
    desk.log.append("a")
    desk.log.end(END)
    assert list(desk.tail(-1)) == [
        Page(0, [ev.RunStarted(desk.log.run.id, "chat"), "a", END], True)
    ]


def test_at_the_end_of_a_finished_log_an_empty_page_says_so(desk: Desk) -> None:
    desk.log.end(END)
    assert list(desk.tail(1)) == [Page(2, [], True)]


def test_the_first_token_leaves_at_once(desk: Desk) -> None:
    desk.at(3, "a")
    desk.at(9, END)
    assert desk.follow(desk.tail()) == [(3, ["a"]), (9, [END])]


def test_a_token_after_a_pause_leaves_at_once(desk: Desk) -> None:
    desk.at(1, "a")
    desk.at(1 + FLUSH + 0.125, "b")
    desk.at(9, END)
    assert desk.follow(desk.tail()) == [(1, ["a"]), (1 + FLUSH + 0.125, ["b"]), (9, [END])]


def test_tokens_that_come_fast_gather_for_the_flush_interval(desk: Desk) -> None:
    for number in range(9):
        desk.at(1 + number * FLUSH / 3.2, str(number))
    desk.at(9, END)
    assert desk.follow(desk.tail()) == [
        (1, ["0"]),
        (1 + FLUSH, ["1", "2", "3"]),
        (1 + 2 * FLUSH, ["4", "5", "6"]),
        (1 + 3 * FLUSH, ["7", "8"]),
        (9, [END]),
    ]


def test_a_reader_that_rests_is_woken_once_for_all_that_came(desk: Desk) -> None:
    for number in range(9):
        desk.at(1 + number * FLUSH / 10, str(number))
    desk.at(9, END)
    waiter = desk.concurrency.waiter()
    told = desk.follow(desk.tail(waiter=waiter))
    assert [len(events or []) for _, events in told] == [1, 8, 1]
    assert waiter.wakes == 4  # The last one is its own close().


def test_the_end_leaves_at_once_with_what_has_gathered(desk: Desk) -> None:
    desk.at(1, "a")
    desk.at(1 + FLUSH / 4, "b")
    desk.at(1 + FLUSH / 2, "c", END)
    assert desk.follow(desk.tail()) == [(1, ["a"]), (1 + FLUSH / 2, ["b", "c", END])]


def test_the_end_leaves_at_once_after_many_rests(desk: Desk) -> None:
    for number in range(5):
        desk.at(1 + number * FLUSH, str(number))
    desk.at(1 + 4 * FLUSH + 0.125, END)
    assert desk.follow(desk.tail())[-1] == (1 + 4 * FLUSH + 0.125, [END])


def test_without_a_flush_interval_every_token_leaves_at_once(desk: Desk) -> None:
    for number in range(3):
        desk.at(1 + number / 8, str(number))
    desk.at(9, END)
    told = desk.follow(desk.tail(flush=0))
    assert told == [(1, ["0"]), (1.125, ["1"]), (1.25, ["2"]), (9, [END])]


def test_a_long_history_does_not_wait_between_its_pages(desk: Desk) -> None:
    for number in range(2 * PAGE):
        desk.log.append(str(number))
    desk.log.end(END)
    told = desk.follow(desk.tail())
    assert [(at, len(events or [])) for at, events in told] == [(0, PAGE), (0, PAGE), (0, 1)]


def test_silence_is_told_by_heartbeats(desk: Desk) -> None:
    desk.at(40, END)
    assert desk.follow(desk.tail()) == [(15, None), (30, None), (40, [END])]


def test_a_heartbeat_comes_only_after_silence(desk: Desk) -> None:
    for number in range(5):
        desk.at(10 * (number + 1), str(number))
    desk.at(70, END)
    told = desk.follow(desk.tail())
    assert [at for at, events in told if events is None] == [65]


def test_no_heartbeat_is_left_over_from_waiting_for_the_first_event(desk: Desk) -> None:
    desk.at(20, "a")
    desk.at(21, END)
    waiter = desk.concurrency.waiter()
    tail = desk.tail(waiter=waiter)
    tail.wait_for_event(0, 60)
    assert next(iter(tail)) == Page(1, ["a"], False)
    waiter.wake()  # For nothing, as it may happen.
    assert desk.follow(tail) == [(21, [END])]


def test_no_heartbeats_where_the_format_has_none(desk: Desk) -> None:
    desk.at(400, END)
    assert desk.follow(desk.tail(heartbeat=None)) == [(400, [END])]


def test_waiting_for_the_first_event_ends_with_it(desk: Desk) -> None:
    desk.at(0.25, "a")
    desk.at(9, END)
    tail = desk.tail()
    tail.wait_for_event(0, 1)
    assert desk.clock() - desk.start == 0.25
    assert desk.follow(tail) == [(0.25, ["a"]), (9, [END])]


def test_waiting_for_the_first_event_ends_after_its_time(desk: Desk) -> None:
    desk.at(9, "a", END)
    tail = desk.tail()
    tail.wait_for_event(0, 1)
    assert desk.clock() - desk.start == 1
    assert desk.follow(tail) == [(9, ["a", END])]


@pytest.mark.parametrize("seconds", [0, 1])
def test_nothing_is_waited_for_that_is_there(desk: Desk, seconds: float) -> None:
    desk.log.append("a")
    desk.tail().wait_for_event(0, seconds)
    assert desk.clock() == desk.start


def test_waiting_ends_when_the_client_leaves(desk: Desk) -> None:
    tail = desk.tail()
    desk.clock.alarm(tail.close).set(0.25)
    tail.wait_for_event(0, 60)
    assert desk.clock() - desk.start == 0.25
    assert list(tail) == []


def test_a_closed_tail_ends_without_the_rest(desk: Desk) -> None:
    tail = desk.tail()
    desk.log.append("a")
    assert next(iter(tail)) == Page(1, ["a"], False)
    desk.log.append("b")
    tail.close()
    assert list(tail) == []


@pytest.mark.parametrize(
    "later", [(), ("c",), (ev.Finished(),)], ids=["silence", "more", "the end"]
)
def test_a_tail_that_is_to_finish_tells_what_is_there_and_ends(
    desk: Desk, later: tuple[ev.Event, ...]
) -> None:
    for text in ("a", "b"):
        desk.log.append(text)
    desk.at(1, *later)
    tail = desk.tail()
    tail.drain()
    assert [list(page.events) for page in tail if page] == [["a", "b"]]


def test_a_reader_that_waits_is_finished_at_once(desk: Desk) -> None:
    tail = desk.tail()
    desk.clock.alarm(tail.drain).set(5)
    assert list(tail) == []
    assert desk.clock() == desk.start + 5


def test_closing_twice_and_before_the_beginning_is_fine(desk: Desk) -> None:
    tail = desk.tail()
    tail.close()
    tail.close()
    assert list(tail) == []


def test_a_closed_tail_leaves_nothing_behind(clock: ManualClock) -> None:
    desk = Desk(clock)
    for _ in range(1000):
        tail = desk.tail()
        tail._listen()
        tail._listen_at(clock() + FLUSH)
        tail.close()
    clock.advance(HEARTBEAT)
    log: t.Any = desk.log
    assert (len(log._waiting), len(log._waiting_for_end)) == (0, 0)
    assert len(desk.timer._timers) == 0


def test_a_trimmed_history_is_passed_on_as_the_page_is(clock: ManualClock) -> None:
    desk = Desk(clock)
    desk.log = new_log(MemoryStore(Bounds(max_events=4), clock=clock))
    for number in range(10):
        desk.log.append(str(number))
    desk.log.end(END)
    (page,) = desk.tail()
    assert page is not None
    assert page.first > 1
    assert page.last == 11


# With real threads: what virtual time cannot show.


def test_a_sleeping_reader_is_ended_from_another_thread() -> None:
    log, concurrency = new_log(), Threads()
    flush_interval = FlushInterval(0.005)
    timer = Timer(concurrency, flush_interval)
    tail = Tail(log, 0, concurrency.waiter(), timer, heartbeat=None, flush_interval=flush_interval)
    read: list[Page | None] = []
    reader = threading.Thread(target=lambda: read.extend(tail), daemon=True)
    reader.start()
    until(lambda: log._waiting, "the reader sleeping")  # type: ignore[attr-defined]
    tail.close()
    reader.join(DEADLINE)
    assert not reader.is_alive()
    assert read == []


@pytest.mark.parametrize("flush", [0.0, 0.001])
def test_no_wake_up_is_ever_lost(flush: float) -> None:
    # Without heartbeats, a reader that misses one wake-up sleeps for ever.
    concurrency = Threads()
    flush_interval = FlushInterval(flush)
    timer = Timer(concurrency, flush_interval)
    for _ in range(30):
        log = new_log()
        seen: dict[int, list[ev.Event]] = {}

        def read(number: int, log: Log = log, seen: dict[int, list[ev.Event]] = seen) -> None:
            tail = Tail(
                log, 0, concurrency.waiter(), timer, heartbeat=None, flush_interval=flush_interval
            )
            seen[number] = [event for page in tail if page for event in page.events]

        readers = [threading.Thread(target=read, args=(n,), daemon=True) for n in range(4)]
        for reader in readers:
            reader.start()
        for number in range(300):
            log.append(str(number))
        log.end(END)
        for reader in readers:
            reader.join(DEADLINE)
            assert not reader.is_alive(), "a reader was never woken"
        assert list(seen.values()) == [[*map(str, range(300)), END]] * 4


def test_a_reader_whose_client_has_left_may_sleep_on_until_all_are_cleared_away(desk: Desk) -> None:
    tail = desk.tail()
    desk.clock.alarm(lambda: tail.close(wake=False)).set(5)
    desk.clock.alarm(tail.close).set(5.2)
    desk.at(5.1, "nobody reads it")
    assert list(tail) == []
    assert desk.clock() == desk.start + 5.2
