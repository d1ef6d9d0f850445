"""Ends are claimed from the outbox, delivered, and deleted, whatever their receivers raise."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Collection

import pytest

from flask_aistream.core import events as ev
from flask_aistream.runs.announcer import Announcer
from flask_aistream.runs.ended import RunEnded
from flask_aistream.stores.base import Log
from flask_aistream.stores.base import OutboxRow
from flask_aistream.stores.memory import MemoryStore
from tests.doubles import ManualClock
from tests.doubles import ManualConcurrency
from tests.runs.support import new_log

MAX_DELIVERIES = 3


class Outbox(MemoryStore):
    """:ivar rows: To be claimed next. :ivar deleted: Ids of the runs whose rows were deleted."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[OutboxRow] = []
        self.deleted: list[str] = []

    def add(self, attempt: int = 1) -> None:
        log = new_log(self)
        log.end(ev.Finished())
        self.rows.append(OutboxRow(log.run.id, attempt))

    def lose(self) -> Log:
        """End a run that the store does not have any more."""
        log = new_log(self)
        log.end(ev.Finished())
        self.rows.append(OutboxRow(log.run.id, 1))
        del self._logs[log.run.id]
        return log

    def claim(self, busy: Collection[str]) -> list[OutboxRow]:
        rows, self.rows = self.rows, []
        return [row for row in rows if row.run not in busy]

    def delivered(self, run_id: str) -> None:
        self.deleted.append(run_id)


class Receiver:
    listening = True

    def __init__(self, receive: Callable[[], object]) -> None:
        self.received: list[RunEnded] = []
        self._receive = receive

    def run_ended(self, ended: RunEnded) -> None:
        self.received.append(ended)
        self._receive()


class Timeout(BaseException):
    """As gevent's."""


class GreenletExit(BaseException):
    """Named as gevent's."""


def announce(outbox: Outbox, receiver: Receiver) -> Announcer:
    concurrency = ManualConcurrency(ManualClock())
    announcer = Announcer(outbox, concurrency, receiver, concurrency.clock, MAX_DELIVERIES)
    announcer.claim()
    concurrency.run()
    return announcer


def raising(error: BaseException) -> Callable[[], t.NoReturn]:
    def fail() -> t.NoReturn:
        raise error

    return fail


@pytest.mark.parametrize("error", [ValueError(), Timeout()], ids=repr)
def test_a_receiver_that_raises_is_not_called_again(error: BaseException) -> None:
    outbox, receiver = Outbox(), Receiver(raising(error))
    outbox.add()
    outbox.add()
    announcer = announce(outbox, receiver)
    assert [ended.run.id for ended in receiver.received] == outbox.deleted
    assert len(outbox.deleted) == 2
    assert not announcer.is_pending()


@pytest.mark.parametrize("error", [SystemExit(), KeyboardInterrupt(), GreenletExit()], ids=repr)
def test_an_exit_in_a_receiver_takes_effect_after_the_row_is_deleted(error: BaseException) -> None:
    outbox = Outbox()
    outbox.add()
    with pytest.raises(type(error)):
        announce(outbox, Receiver(raising(error)))
    assert len(outbox.deleted) == 1


@pytest.mark.parametrize(
    ("attempt", "count"), [(MAX_DELIVERIES, 1), (MAX_DELIVERIES + 1, 0)], ids=["last", "beyond"]
)
def test_an_end_whose_deliveries_crash_is_given_up(
    attempt: int, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    outbox, receiver = Outbox(), Receiver(lambda: None)
    outbox.add(attempt)
    announce(outbox, receiver)
    assert (len(receiver.received), len(outbox.deleted)) == (count, 1)
    assert ("given up" in caplog.text) == (count == 0)


def test_a_process_without_receivers_claims_nothing() -> None:
    outbox, receiver = Outbox(), Receiver(lambda: None)
    receiver.listening = False
    outbox.add()
    announce(outbox, receiver)
    assert (len(outbox.rows), outbox.deleted) == (1, [])


def test_an_end_is_delivered_though_the_store_has_lost_its_run_since() -> None:
    outbox, receiver = Outbox(), Receiver(lambda: None)
    concurrency = ManualConcurrency(ManualClock())
    announcer = Announcer(outbox, concurrency, receiver, concurrency.clock, MAX_DELIVERIES)
    log, other = outbox.lose(), outbox.lose()
    announcer.announce(log, None)
    concurrency.run()
    assert [ended.run.id for ended in receiver.received] == [log.run.id]
    assert set(outbox.deleted) == {log.run.id, other.run.id}
