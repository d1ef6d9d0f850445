"""The body of a response."""

from __future__ import annotations

import typing as t
from collections.abc import Sequence

import pytest

from flask_aistream.core import events as ev
from flask_aistream.delivery.body import MAX_WRITE_BYTES
from flask_aistream.delivery.body import Delivery
from flask_aistream.delivery.tail import Tail
from flask_aistream.errors import StoreUnavailable
from flask_aistream.stores.base import Log
from flask_aistream.stores.base import Wake
from flask_aistream.stores.limits import Limits
from flask_aistream.stores.memory import MemoryStore
from flask_aistream.timing.flush import FlushInterval
from flask_aistream.timing.timer import Timer
from tests.doubles import ManualClock
from tests.doubles import ManualConcurrency
from tests.runs.support import new_log

END = ev.Finished()


class PlainEncoder:
    """Encodes text events in a readable form."""

    def __init__(self) -> None:
        self.calls = 0

    def encode(self, first: int, events: Sequence[ev.Event]) -> bytes:
        self.calls += 1
        return "".join(
            f"<{n} {e}>" for n, e in enumerate(events, first) if isinstance(e, str)
        ).encode()

    def gap(self, first: int) -> bytes:
        return f"<gap {first}>".encode()


class DeliveryHarness:
    def __init__(self, clock: ManualClock) -> None:
        self.closed = 0
        self.completed = 0
        self.clock = clock
        self.concurrency = ManualConcurrency(clock)
        self.timer = Timer(self.concurrency, FlushInterval(0.005, clock=clock), clock)

    def deliver(
        self,
        log: Log,
        after: int = 0,
        *,
        heartbeat: bytes | None = b"<beat>",
        prologue: bytes = b"",
        resumable: bool = False,
        aborted_by: tuple[type[ev.Terminal], ...] = (),
    ) -> Delivery:
        tail = Tail(
            log,
            after,
            self.concurrency.waiter(),
            self.timer,
            heartbeat=15,
            flush_interval=FlushInterval(0.0, clock=self.clock),
            clock=self.clock,
        )
        return Delivery(
            tail,
            PlainEncoder(),
            after,
            prologue=prologue,
            resumable=resumable,
            heartbeat=heartbeat,
            aborted_by=aborted_by,
            on_complete=self._complete,
            on_close=self._close,
        )

    def _complete(self) -> None:
        self.completed += 1

    def _close(self) -> None:
        self.closed += 1


@pytest.fixture
def harness(clock: ManualClock) -> DeliveryHarness:
    return DeliveryHarness(clock)


def log_of(*texts: str, end: ev.Terminal | None = END, max_events: int | None = None) -> Log:
    log = new_log(MemoryStore(Limits(max_events=max_events)))
    for text in texts:
        log.append(text)
    if end:
        log.end(end)
    return log


def test_all_records_of_a_finished_log_are_one_write(harness: DeliveryHarness) -> None:
    assert list(harness.deliver(log_of("a", "b", "c"))) == [b"<1 a><2 b><3 c>"]


def test_a_delivery_starts_after_its_cursor(harness: DeliveryHarness) -> None:
    assert list(harness.deliver(log_of("a", "b", "c"), 2)) == [b"<3 c>"]


def test_the_reconnection_time_is_sent_once_before_all_events(harness: DeliveryHarness) -> None:
    log = log_of(end=None)
    harness.clock.alarm(lambda: log.append("a")).set(1)
    harness.clock.alarm(lambda: log.append("b")).set(2)
    harness.clock.alarm(lambda: log.end(END)).set(3)
    assert list(harness.deliver(log, prologue=b"<retry>")) == [b"<retry><1 a>", b"<2 b>"]


def test_a_cursor_at_the_end_receives_only_the_prologue(harness: DeliveryHarness) -> None:
    assert list(harness.deliver(log_of(), 1, prologue=b"<retry>")) == [b"<retry>"]


def test_trimmed_records_are_sent_as_a_gap(harness: DeliveryHarness) -> None:
    log = log_of(*"abcdefgh", max_events=4)
    (data,) = harness.deliver(log, 1)
    assert data.startswith(b"<gap ")
    assert data.endswith(b"<8 h>")


def test_a_cursor_after_the_trimmed_records_sees_no_gap(harness: DeliveryHarness) -> None:
    log = log_of(*"abcdefgh", max_events=4)
    assert list(harness.deliver(log, 7)) == [b"<8 h>"]


@pytest.mark.parametrize(("beat", "written"), [(b"<beat>", [b"<beat>"] * 3), (None, [])])
def test_heartbeats_are_sent_in_a_silence_if_the_protocol_has_them(
    harness: DeliveryHarness, beat: bytes | None, written: list[bytes]
) -> None:
    log = log_of(end=None)
    harness.clock.alarm(lambda: log.end(END)).set(50)
    assert list(harness.deliver(log, heartbeat=beat)) == written


def test_a_heartbeat_before_the_first_page_does_not_replace_the_reconnection_time(
    harness: DeliveryHarness,
) -> None:
    log = log_of(end=None)
    harness.clock.alarm(lambda: log.append("a")).set(20)
    harness.clock.alarm(lambda: log.end(END)).set(21)
    assert list(harness.deliver(log, prologue=b"<retry>")) == [b"<beat>", b"<retry><1 a>"]


def test_a_recalled_client_receives_a_reconnection_time(harness: DeliveryHarness) -> None:
    log = log_of("a", end=None)
    delivery = harness.deliver(log, resumable=True)
    harness.clock.alarm(lambda: delivery.recall(250)).set(2)
    assert list(delivery) == [b"<1 a>", b"retry: 250\n"]
    assert delivery.recalled


def test_a_recalled_client_first_receives_all_records_of_the_log(harness: DeliveryHarness) -> None:
    delivery = harness.deliver(log_of("a", "b", end=None), resumable=True)
    delivery.recall(250)  # Before the first byte: the client must know which run to resume.
    assert list(delivery) == [b"<1 a><2 b>", b"retry: 250\n"]


def test_a_client_that_cannot_resume_is_not_recalled(harness: DeliveryHarness) -> None:
    log = log_of("a", end=None)
    harness.clock.alarm(lambda: log.append("b")).set(3)
    harness.clock.alarm(lambda: log.end(END)).set(4)
    delivery = harness.deliver(log)
    harness.clock.alarm(lambda: delivery.recall(250)).set(2)
    assert list(delivery) == [b"<1 a>", b"<2 b>"]
    assert not delivery.recalled


def test_a_client_that_received_the_end_is_not_recalled(harness: DeliveryHarness) -> None:
    delivery = harness.deliver(log_of("a"), resumable=True)
    delivery.recall(250)
    assert list(delivery) == [b"<1 a>"]
    assert not delivery.recalled


def test_a_long_page_is_split_into_several_writes(harness: DeliveryHarness) -> None:
    text = "".join(f"{n}," for n in range(MAX_WRITE_BYTES))
    pieces = list(harness.deliver(log_of(text)))
    assert b"".join(pieces) == f"<1 {text}>".encode()
    assert max(map(len, pieces)) == MAX_WRITE_BYTES


@pytest.mark.parametrize("text", ["a", "a" * 2 * MAX_WRITE_BYTES], ids=["short", "long"])
def test_the_current_write_is_visible(harness: DeliveryHarness, text: str) -> None:
    log = log_of(text, end=None)
    harness.clock.alarm(lambda: log.end(END)).set(5)
    delivery = harness.deliver(log)
    harness.clock.alarm(lambda: between.append(delivery.writing)).set(1)
    between: list[bytes | None] = []
    for data in delivery:
        assert delivery.writing is data
    assert between == [None]


def test_closing_before_the_first_byte_releases_everything_once(harness: DeliveryHarness) -> None:
    delivery = harness.deliver(log_of(end=None))
    delivery.close()
    delivery.close()
    assert harness.closed == 1
    assert list(delivery) == []


def test_closing_after_the_end_releases_everything_once(harness: DeliveryHarness) -> None:
    delivery = harness.deliver(log_of("a"))
    list(delivery)
    delivery.close()
    assert harness.closed == 1


def test_on_complete_is_called_only_if_the_end_of_the_run_was_sent(
    harness: DeliveryHarness,
) -> None:
    delivery = harness.deliver(log_of("a"))
    list(delivery)
    cut = harness.deliver(log_of("a", end=None))
    next(iter(cut))
    cut.close()
    assert harness.completed == 1


def test_an_end_that_the_protocol_cannot_encode_aborts_the_connection(
    harness: DeliveryHarness,
) -> None:
    written: list[bytes] = []
    body = iter(harness.deliver(log_of("a", end=ev.Stopped()), aborted_by=(ev.Stopped,)))
    written.append(next(body))
    with pytest.raises(ConnectionResetError):
        next(body)
    assert written == [b"<1 a>"]


def test_a_store_that_is_unavailable_for_too_long_aborts_the_connection(
    harness: DeliveryHarness,
) -> None:
    log = log_of("a", end=None)

    def gone(after: int, wake: Wake) -> t.NoReturn:
        raise StoreUnavailable("gone")

    log.notify = gone  # type: ignore[method-assign]
    body = iter(harness.deliver(log))
    assert next(body) == b"<1 a>"
    with pytest.raises(ConnectionResetError):
        next(body)
