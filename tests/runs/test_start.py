"""Starting runs: the first event, limits, and retried starts."""

from __future__ import annotations

import threading
import typing as t
from collections.abc import Iterator

import pytest

from flask_aistream.core import events as ev
from flask_aistream.core.request import ChatRequest
from flask_aistream.errors import Unavailable
from flask_aistream.runs.ended import RunEnded
from flask_aistream.testing import DEADLINE
from flask_aistream.testing import Gate
from flask_aistream.testing import Script
from tests.doubles import ManualClock
from tests.doubles import ManualConcurrency
from tests.runs.support import RunnerHarness
from tests.runs.support import events_of
from tests.runs.support import run
from tests.runs.support import threaded


def test_a_run_starts_with_a_run_started_event(harness: RunnerHarness) -> None:
    log = harness.start(Script("a"))
    assert log.read(-1).events == [ev.RunStarted(log.run.id, "chat")]
    run(harness)
    assert events_of(log) == ["a", ev.Finished()]


def test_run_ended_has_outcome_durations_text_and_usage(harness: RunnerHarness) -> None:
    def provider(request: ChatRequest) -> Iterator[t.Any]:
        harness.clock.advance(2)
        yield "Hel"
        harness.clock.advance(3)
        yield "lo"
        yield ev.Usage(1, 2)

    log = harness.start(provider, owner="ann")
    harness.clock.advance(1)
    run(harness)
    (ended,) = harness.ends.received
    assert (ended.run, ended.outcome) == (log.run, ev.Finished())
    assert (ended.seconds, ended.first_seconds) == (6, 3)
    assert (ended.text, ended.usage) == ("Hello", ev.Usage(1, 2))
    assert ended.message.status == "finished"


def test_a_run_without_events_has_no_time_of_the_first_event(harness: RunnerHarness) -> None:
    harness.start(Script())
    run(harness)
    assert harness.ends.received[0].first_seconds is None
    assert harness.ends.received[0].text == ""


def test_an_exception_in_a_receiver_is_logged_and_the_run_ends(
    harness: RunnerHarness, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(ended: RunEnded) -> None:
        raise RuntimeError("billing is down")

    harness.ends.receiver = fail
    log = harness.start(Script("a"))
    run(harness)
    assert log.ended
    assert harness.runner.count == 0
    assert "billing is down" in caplog.text


def test_more_runs_than_the_limit_are_rejected(clock: ManualClock) -> None:
    harness = RunnerHarness(clock, ManualConcurrency(clock), max_runs=2)
    logs = [harness.start(Script("a")) for _ in range(2)]
    with pytest.raises(Unavailable) as caught:
        harness.start(Script("a"))
    assert caught.value.status == 503
    harness.runner.stop(logs[0], "client")
    harness.start(Script("a"))


def test_more_runs_of_one_owner_than_the_limit_are_rejected(clock: ManualClock) -> None:
    harness = RunnerHarness(clock, ManualConcurrency(clock), max_runs_per_owner=2)
    for owner in ("ann", "bob", "ann", None, None, None):
        harness.start(Script("a"), owner)
    with pytest.raises(Unavailable, match="2 live runs") as caught:
        harness.start(Script("a"), "ann")
    assert caught.value.status == 429
    harness.start(Script("a"), "bob")


@pytest.mark.parametrize("limits", [{"max_runs": 3}, {"max_runs_per_owner": 3}])
def test_concurrent_starts_do_not_exceed_a_limit(
    clock: ManualClock, limits: dict[str, int]
) -> None:
    harness = threaded(clock, **limits)
    gate = Gate()
    barrier = threading.Barrier(8)

    started: list[int] = []
    rejected: list[int] = []

    def start(number: int) -> None:
        barrier.wait(DEADLINE)
        try:
            harness.start(Script(gate), "ann")
            started.append(number)
        except Unavailable:
            rejected.append(number)

    threads = [threading.Thread(target=start, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert (len(started), len(rejected)) == (3, 5)
    gate.open()
    harness.ends.wait(3)
    harness.start(Script(), "ann")  # A rejected start holds no place.


def test_a_rejected_run_leaves_no_log(clock: ManualClock) -> None:
    harness = RunnerHarness(clock, ManualConcurrency(clock), max_runs=1)
    harness.start(Script("a"))
    with pytest.raises(Unavailable):
        harness.start(Script("a"), key="k")
    assert harness.store.started("k") is None


def test_a_retried_start_finds_its_run(harness: RunnerHarness) -> None:
    script = Script("a")
    first = harness.start(script, key="k")
    again = harness.start(script, key="k")
    run(harness)
    assert first.run.id == again.run.id
    assert len(script.requests) == 1
    assert len(harness.ends.received) == 1


@pytest.mark.parametrize("limits", [{"max_runs": 1}, {"max_runs_per_owner": 1}])
def test_a_retried_start_is_exempt_from_limits(
    clock: ManualClock, limits: dict[str, t.Any]
) -> None:
    harness = RunnerHarness(clock, ManualConcurrency(clock), **limits)
    first = harness.start(Script("a"), "ann", key="k")
    assert harness.start(Script("a"), "ann", key="k").run.id == first.run.id


def test_a_retried_start_finds_its_run_while_draining(harness: RunnerHarness) -> None:
    first = harness.start(Script("a"), key="k")
    harness.runner.drain()
    assert harness.start(Script("a"), key="k").run.id == first.run.id
