"""The table by which a process leaves, on a manual clock."""

from __future__ import annotations

import typing as t

import pytest

from flask_aistream.server.drain import TRANSITIONS
from flask_aistream.server.drain import Drain
from flask_aistream.server.drain import DrainActions
from flask_aistream.server.drain import DrainEvent
from flask_aistream.server.drain import DrainState
from flask_aistream.timing.flush import FlushInterval
from flask_aistream.timing.timer import Timer
from tests.doubles import ManualClock
from tests.doubles import ManualConcurrency

BUDGET = 10.0


class Leaving:
    """A process that drains, and a record of the steps.

    :param found: What each probe for a successor finds; the last one again and again.
    :param batches: Batches of clients that can be recalled.
    """

    def __init__(
        self,
        clock: ManualClock,
        *,
        found: list[bool | None] | None = None,
        batches: int = 0,
        budget: float = BUDGET,
    ) -> None:
        self.did: list[tuple[float, str]] = []
        self._clock = clock
        self._start = clock()
        self._found = found or [None]
        self._batches = batches
        timer = Timer(ManualConcurrency(clock), FlushInterval(0, clock=clock), clock)
        self.drain = Drain(
            DrainActions(
                lambda: self._note("announced"),
                lambda: self._note("refuses starts"),
                lambda: self._note("interrupted"),
                self._recall,
                self._find,
            ),
            later=timer.call_later,
            spawn=lambda work: work(),
            budget=budget,
        )

    def names(self) -> list[str]:
        """What was done, each once, in the order of the first time."""
        return list(dict.fromkeys(name for _, name in self.did))

    def times(self, name: str) -> list[float]:
        return [at for at, done in self.did if done == name]

    def _note(self, name: str) -> None:
        self.did.append((round(self._clock() - self._start, 3), name))

    def _find(self) -> bool | None:
        self._note("probed")
        return self._found.pop(0) if len(self._found) > 1 else self._found[0]

    def _recall(self, all_clients: bool) -> bool:
        self._note("recalled all" if all_clients else "recalled")
        self._batches -= 1
        return self._batches > 0


def test_clients_move_in_batches_once_a_successor_answers(clock: ManualClock) -> None:
    process = Leaving(clock, found=[False, False, True], batches=3)
    process.drain.handle(DrainEvent.STOP)
    clock.advance(5)
    assert process.drain.state is DrainState.FINISHING
    assert process.names() == ["announced", "probed", "refuses starts", "recalled"]
    assert process.times("probed") == [1.5, 1.7, 1.9]
    assert process.times("refuses starts") == [1.9]  # Served as before until then.
    assert process.times("recalled") == [1.9, 2.0, 2.1]


def test_clients_stay_where_no_successor_will_answer(clock: ManualClock) -> None:
    process = Leaving(clock, found=[False, None], batches=3)
    process.drain.handle(DrainEvent.STOP)
    clock.advance(5)
    assert process.drain.state is DrainState.FINISHING
    assert process.names() == ["announced", "probed", "refuses starts"]


@pytest.mark.parametrize("found", [[True], [False], [None]], ids=["moved", "waited", "stayed"])
def test_remaining_runs_are_interrupted_when_the_budget_is_spent(
    clock: ManualClock, found: list[bool | None]
) -> None:
    process = Leaving(clock, found=found, batches=1000)
    process.drain.handle(DrainEvent.STOP)
    clock.advance(BUDGET - 0.01)
    assert process.times("interrupted") == []
    clock.advance(BUDGET)
    assert process.drain.state is DrainState.INTERRUPTED
    assert process.times("interrupted") == process.times("recalled all") == [BUDGET]
    assert process.times("recalled")[-1:] <= [BUDGET]  # Batches that are still due change nothing.


def test_a_short_budget_leaves_time_to_move(clock: ManualClock) -> None:
    process = Leaving(clock, found=[True], budget=1.0)
    process.drain.handle(DrainEvent.STOP)
    clock.advance(0.9)
    assert process.times("recalled") == [0.5]


@pytest.mark.parametrize("state", list(DrainState))
def test_a_process_that_exits_refuses_starts_and_can_be_interrupted_twice(
    clock: ManualClock, state: DrainState
) -> None:
    # Ctrl-C may arrive a second time in the middle of an interruption.
    process = Leaving(clock)
    process.drain.state = state
    for event in (DrainEvent.EXIT, DrainEvent.BUDGET_SPENT, DrainEvent.BUDGET_SPENT):
        process.drain.handle(event)
    assert process.drain.state is DrainState.INTERRUPTED
    assert "refuses starts" in process.names()
    assert len(process.times("interrupted")) == 2


def test_a_process_that_has_left_serving_never_serves_again() -> None:
    reached = {target for events in TRANSITIONS.values() for target, _ in events.values()}
    assert reached == set(DrainState) - {DrainState.SERVING}
    assert TRANSITIONS.keys() == set(DrainState)


LATE: list[t.Any] = [
    (DrainState.SERVING, DrainEvent.PROBE_DUE),
    (DrainState.FINISHING, DrainEvent.ANSWERED),
    (DrainState.FINISHING, DrainEvent.BATCH_DUE),
    (DrainState.INTERRUPTED, DrainEvent.PROBE_DUE),
    (DrainState.INTERRUPTED, DrainEvent.EXIT),
    (DrainState.RECALLING, DrainEvent.STOP),
]


@pytest.mark.parametrize(("state", "event"), LATE)
def test_a_late_event_changes_nothing(
    clock: ManualClock, state: DrainState, event: DrainEvent
) -> None:
    process = Leaving(clock)
    process.drain.state = state
    process.drain.handle(event)
    assert (process.drain.state, process.did) == (state, [])
