"""Tickets of runs that wait for a worker."""

from __future__ import annotations

import pytest

from flask_aistream.core.run import read_ticket
from flask_aistream.core.run import ticket_of
from flask_aistream.runs.dispatch import DispatchQueue
from flask_aistream.stores.base import Orphan
from tests.doubles import ManualClock
from tests.runs.support import new_log
from tests.runs.support import run_of


@pytest.mark.parametrize(("epoch", "ticket"), [(0, "a-_9"), (3, "a-_9.3")])
def test_a_ticket_names_the_run_and_its_epoch(epoch: int, ticket: str) -> None:
    assert ticket_of("a-_9", epoch) == ticket
    assert read_ticket(ticket) == ("a-_9", epoch)


def test_an_invalid_ticket_is_rejected() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        read_ticket("a.b")


def test_a_lost_run_is_enqueued_once_and_waits_for_the_maximum_time(clock: ManualClock) -> None:
    tickets: list[str] = []
    queue, run = DispatchQueue(tickets.append, 30, clock), run_of()
    assert queue.put_again(run, 1)
    clock.advance(29)
    assert queue.put_again(run, 1)
    assert tickets == [f"{run.id}.1"]
    clock.advance(1)
    assert not queue.put_again(run, 1)


def test_a_run_that_is_lost_again_is_enqueued_again(clock: ManualClock) -> None:
    tickets: list[str] = []
    queue, log = DispatchQueue(tickets.append, 30, clock), new_log()
    queue.put_again(log.run, 1)
    queue.keep_only([Orphan(log, 1)])
    queue.put_again(log.run, 1)
    clock.advance(30)
    assert queue.put_again(log.run, 2)
    assert tickets == [f"{log.run.id}.1", f"{log.run.id}.2"]
    queue.keep_only([])
    assert queue.put_again(log.run, 2)


def test_without_a_maximum_time_a_run_waits_for_ever(clock: ManualClock) -> None:
    queue, run = DispatchQueue(lambda ticket: None, None, clock), run_of()
    queue.put_again(run, 1)
    clock.advance(1e9)
    assert queue.put_again(run, 1)


def test_an_unavailable_queue_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(ticket: str) -> None:
        raise ConnectionError("the broker is unavailable")

    assert not DispatchQueue(refuse, 30).put(run_of())
    assert "the broker is unavailable" in caplog.text
