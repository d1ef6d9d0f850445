"""A draining process rejects starts and ends its runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flask_aistream.core import events as ev
from flask_aistream.errors import Unavailable
from flask_aistream.testing import DEADLINE
from flask_aistream.testing import Gate
from flask_aistream.testing import Script
from tests.doubles import ManualClock
from tests.runs.support import SCRIPTS
from tests.runs.support import RunnerHarness
from tests.runs.support import events_of
from tests.runs.support import run
from tests.runs.support import threaded


def test_a_draining_process_rejects_starts_and_finishes_its_runs(harness: RunnerHarness) -> None:
    log = harness.start(Script("a"))
    harness.runner.drain()
    with pytest.raises(Unavailable):
        harness.start(Script("b"))
    run(harness)
    assert events_of(log) == ["a", ev.Finished()]


@SCRIPTS
def test_interrupt_all_waits_for_the_clean_up_of_providers(
    clock: ManualClock, script: type[Script]
) -> None:
    harness = threaded(clock)
    gates = [Gate() for _ in range(5)]
    scripts = [script("a", gate) for gate in gates]
    for one in scripts:
        harness.start(one)
    for gate in gates:
        gate.wait_reached()
    harness.runner._termination._clock = real_clock()
    harness.runner.interrupt_all("drain", DEADLINE)
    # It returned because they were done, not because of its timeout.
    for one in scripts:
        one.wait_closed(0)
    assert [ended.outcome for ended in harness.ends.received] == [ev.Interrupted("drain")] * 5


def test_every_run_is_ended_before_the_first_end_is_announced(clock: ManualClock) -> None:
    # A receiver may be slow, and the process has little time left.
    harness = threaded(clock)
    gates = [Gate() for _ in range(3)]
    logs = [harness.start(Script(gate)) for gate in gates]
    for gate in gates:
        gate.wait_reached()
    ended: list[bool] = []
    harness.ends.receiver = lambda _: ended.append(all(log.ended for log in logs))
    harness.runner.interrupt_all("drain", 0)
    assert ended == [True] * 3


def real_clock() -> Callable[[], float]:
    import time

    return time.monotonic
