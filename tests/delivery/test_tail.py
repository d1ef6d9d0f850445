"""Following a log."""

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
from flask_aistream.stores.limits import Limits
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


class TailHarness:
    """A log with scheduled writes, on manual time."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.log: Log = new_log(MemoryStore(clock=clock))
        self.concurrency = ManualConcurrency(clock)
        self.timer = Timer(self.concurrency, FlushInterval(FLUSH, clock=clock), clock)
        self.start = clock()

    def at(self, seconds: float, *events: ev.Event) -> None:
        """Append ``events`` this many seconds after the start."""

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
        """The pages of a tail, each with its time."""
        return [
            (self.clock() - self.start, None if page is None else list(page.events))
            for page in tail
        ]


@pytest.fixture
def harness(clock: ManualClock) -> TailHarness:
    return TailHarness(clock)


END = ev.Finished()


def test_a_finished_log_is_one_page(harness: TailHarness) -> None:
    harness.log.append("a")
    harness.log.end(END)
    assert list(harness.tail(-1)) == [
        Page(0, [ev.RunStarted(harness.log.run.id, "chat"), "a", END], True)
    ]


def test_a_cursor_at_the_end_receives_an_empty_final_page(harness: TailHarness) -> None:
    harness.log.end(END)
    assert list(harness.tail(1)) == [Page(2, [], True)]


def test_the_first_token_leaves_at_once(harness: TailHarness) -> None:
    harness.at(3, "a")
    harness.at(9, END)
    assert harness.follow(harness.tail()) == [(3, ["a"]), (9, [END])]


def test_a_token_after_a_pause_leaves_at_once(harness: TailHarness) -> None:
    harness.at(1, "a")
    harness.at(1 + FLUSH + 0.125, "b")
    harness.at(9, END)
    assert harness.follow(harness.tail()) == [(1, ["a"]), (1 + FLUSH + 0.125, ["b"]), (9, [END])]


def test_fast_tokens_are_coalesced_for_the_flush_interval(harness: TailHarness) -> None:
    for number in range(9):
        harness.at(1 + number * FLUSH / 3.2, str(number))
    harness.at(9, END)
    assert harness.follow(harness.tail()) == [
        (1, ["0"]),
        (1 + FLUSH, ["1", "2", "3"]),
        (1 + 2 * FLUSH, ["4", "5", "6"]),
        (1 + 3 * FLUSH, ["7", "8"]),
        (9, [END]),
    ]


def test_a_reader_is_woken_once_per_flush_interval(harness: TailHarness) -> None:
    for number in range(9):
        harness.at(1 + number * FLUSH / 10, str(number))
    harness.at(9, END)
    waiter = harness.concurrency.waiter()
    pages = harness.follow(harness.tail(waiter=waiter))
    assert [len(events or []) for _, events in pages] == [1, 8, 1]
    assert waiter.wakes == 4  # The last one is its own close().


def test_the_end_leaves_at_once_with_the_coalesced_tokens(harness: TailHarness) -> None:
    harness.at(1, "a")
    harness.at(1 + FLUSH / 4, "b")
    harness.at(1 + FLUSH / 2, "c", END)
    assert harness.follow(harness.tail()) == [(1, ["a"]), (1 + FLUSH / 2, ["b", "c", END])]


def test_the_end_leaves_at_once_after_many_flush_intervals(harness: TailHarness) -> None:
    for number in range(5):
        harness.at(1 + number * FLUSH, str(number))
    harness.at(1 + 4 * FLUSH + 0.125, END)
    assert harness.follow(harness.tail())[-1] == (1 + 4 * FLUSH + 0.125, [END])


def test_without_a_flush_interval_every_token_leaves_at_once(harness: TailHarness) -> None:
    for number in range(3):
        harness.at(1 + number / 8, str(number))
    harness.at(9, END)
    pages = harness.follow(harness.tail(flush=0))
    assert pages == [(1, ["0"]), (1.125, ["1"]), (1.25, ["2"]), (9, [END])]


def test_the_pages_of_a_long_log_follow_without_a_pause(harness: TailHarness) -> None:
    for number in range(2 * PAGE):
        harness.log.append(str(number))
    harness.log.end(END)
    pages = harness.follow(harness.tail())
    assert [(at, len(events or [])) for at, events in pages] == [(0, PAGE), (0, PAGE), (0, 1)]


def test_heartbeats_are_sent_in_a_silence(harness: TailHarness) -> None:
    harness.at(40, END)
    assert harness.follow(harness.tail()) == [(15, None), (30, None), (40, [END])]


def test_events_postpone_the_heartbeat(harness: TailHarness) -> None:
    for number in range(5):
        harness.at(10 * (number + 1), str(number))
    harness.at(70, END)
    pages = harness.follow(harness.tail())
    assert [at for at, events in pages if events is None] == [65]


def test_a_heartbeat_due_during_wait_for_event_is_dropped_by_the_event(
    harness: TailHarness,
) -> None:
    harness.at(20, "a")
    harness.at(21, END)
    waiter = harness.concurrency.waiter()
    tail = harness.tail(waiter=waiter)
    tail.wait_for_event(0, 60)
    assert next(iter(tail)) == Page(1, ["a"], False)
    waiter.wake()  # A spurious wake-up.
    assert harness.follow(tail) == [(21, [END])]


def test_there_are_no_heartbeats_if_the_protocol_has_none(harness: TailHarness) -> None:
    harness.at(400, END)
    assert harness.follow(harness.tail(heartbeat=None)) == [(400, [END])]


def test_wait_for_event_returns_when_the_event_is_appended(harness: TailHarness) -> None:
    harness.at(0.25, "a")
    harness.at(9, END)
    tail = harness.tail()
    tail.wait_for_event(0, 1)
    assert harness.clock() - harness.start == 0.25
    assert harness.follow(tail) == [(0.25, ["a"]), (9, [END])]


def test_wait_for_event_returns_after_its_timeout(harness: TailHarness) -> None:
    harness.at(9, "a", END)
    tail = harness.tail()
    tail.wait_for_event(0, 1)
    assert harness.clock() - harness.start == 1
    assert harness.follow(tail) == [(9, ["a", END])]


@pytest.mark.parametrize("seconds", [0, 1])
def test_wait_for_event_returns_at_once_if_the_event_exists(
    harness: TailHarness, seconds: float
) -> None:
    harness.log.append("a")
    harness.tail().wait_for_event(0, seconds)
    assert harness.clock() == harness.start


def test_wait_for_event_returns_when_the_tail_is_closed(harness: TailHarness) -> None:
    tail = harness.tail()
    harness.clock.alarm(tail.close).set(0.25)
    tail.wait_for_event(0, 60)
    assert harness.clock() - harness.start == 0.25
    assert list(tail) == []


def test_a_closed_tail_yields_no_more_pages(harness: TailHarness) -> None:
    tail = harness.tail()
    harness.log.append("a")
    assert next(iter(tail)) == Page(1, ["a"], False)
    harness.log.append("b")
    tail.close()
    assert list(tail) == []


@pytest.mark.parametrize(
    "later", [(), ("c",), (ev.Finished(),)], ids=["silence", "more", "the end"]
)
def test_a_drained_tail_yields_the_current_records_and_ends(
    harness: TailHarness, later: tuple[ev.Event, ...]
) -> None:
    for text in ("a", "b"):
        harness.log.append(text)
    harness.at(1, *later)
    tail = harness.tail()
    tail.drain()
    assert [list(page.events) for page in tail if page] == [["a", "b"]]


def test_draining_wakes_a_waiting_reader(harness: TailHarness) -> None:
    tail = harness.tail()
    harness.clock.alarm(tail.drain).set(5)
    assert list(tail) == []
    assert harness.clock() == harness.start + 5


def test_close_is_idempotent_and_may_come_before_iteration(harness: TailHarness) -> None:
    tail = harness.tail()
    tail.close()
    tail.close()
    assert list(tail) == []


def test_a_closed_tail_releases_its_timers_and_registrations(clock: ManualClock) -> None:
    harness = TailHarness(clock)
    for _ in range(1000):
        tail = harness.tail()
        tail._listen()
        tail._listen_at(clock() + FLUSH)
        tail.close()
    clock.advance(HEARTBEAT)
    log: t.Any = harness.log
    assert (len(log._waiting), len(log._waiting_for_end)) == (0, 0)
    assert len(harness.timer._timers) == 0


def test_a_gap_is_passed_on_in_the_page(clock: ManualClock) -> None:
    harness = TailHarness(clock)
    harness.log = new_log(MemoryStore(Limits(max_events=4), clock=clock))
    for number in range(10):
        harness.log.append(str(number))
    harness.log.end(END)
    (page,) = harness.tail()
    assert page is not None
    assert page.first > 1
    assert page.last == 11


# With real threads.


def test_another_thread_may_close_a_waiting_tail() -> None:
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
def test_no_wake_up_is_lost(flush: float) -> None:
    # Without heartbeats, a reader that misses one wake-up waits for ever.
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


def test_a_tail_closed_without_a_wake_up_ends_when_it_is_closed_again(harness: TailHarness) -> None:
    tail = harness.tail()
    harness.clock.alarm(lambda: tail.close(wake=False)).set(5)
    harness.clock.alarm(tail.close).set(5.2)
    harness.at(5.1, "unread")
    assert list(tail) == []
    assert harness.clock() == harness.start + 5.2
