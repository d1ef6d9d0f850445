"""Random schedules of several processes, with faults, violate no invariant; see ``tests.simulation.world``."""

from __future__ import annotations

import logging

import pytest

from tests.simulation.plans import plan_of
from tests.simulation.plans import report_of
from tests.simulation.plans import shrink
from tests.simulation.plans import violation_of
from tests.simulation.world import Op
from tests.simulation.world import World

SCHEDULES = 2000
BY_DAY = 400
BLOCK = 200


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(first, marks=[pytest.mark.nightly] if first >= BY_DAY else [])
        for first in range(0, SCHEDULES, BLOCK)
    ],
)
def test_no_schedule_violates_an_invariant(first: int) -> None:
    logging.disable(logging.CRITICAL)  # Receivers raise on purpose.
    try:
        reports = [report_of(seed) for seed in range(first, first + BLOCK)]
    finally:
        logging.disable(logging.NOTSET)
    assert [report for report in reports if report] == []


@pytest.mark.parametrize("seed", [17, 18, 62])
def test_a_seed_runs_one_schedule(seed: int) -> None:
    states = []
    for _ in range(2):
        world = World(seed, *plan_of(seed))
        world.run()
        states.append((world.steps, world.now, world.random.getstate()))
    assert states[0] == states[1]


def test_a_plan_is_shrunk_to_what_fails() -> None:
    _, plan = plan_of(3)
    starts = [op for op in plan if op.kind == "start"][:1]
    assert shrink(plan, lambda smaller: starts[0] in smaller) == starts


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_a_schedule_without_faults_ends_and_announces_every_run(kind: str) -> None:
    plan = [Op(0.1 * number, "start", number, 3 * number + 1, 5) for number in range(5)]
    assert violation_of(7, kind, plan) is None


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_an_idle_process_asserts_the_ends_that_a_rollback_takes_back(kind: str) -> None:
    plan = [Op(0.1, "start", 0, 1, 6), Op(3.3, "roll_back", 3, 0, 0)]
    assert [violation_of(seed, kind, plan) for seed in range(20)] == [None] * 20


def test_a_second_rollback_right_after_the_first_brings_no_run_back() -> None:
    """Another process had seen the heartbeat stand still since the first one."""
    plan = [
        *(Op(0.1, "start", 0, 1, 6), Op(3.3, "roll_back", 3, 0, 0)),
        Op(4.8, "roll_back", 1, 0, 0),  # Some processes have asserted the end by now.
    ]
    assert [violation_of(seed, "sqlite", plan) for seed in range(40)] == [None] * 40


def test_a_second_rollback_may_go_back_to_the_state_after_the_first() -> None:
    plan = [
        *(Op(1.25, "start", 694, 398, 885), Op(2.41, "roll_back", 2, 0, 0)),
        *(Op(2.69, "stop", 288, 0, 0), Op(5.49, "roll_back", 3, 0, 0)),
    ]
    assert [violation_of(seed, "sqlite", plan) for seed in range(20)] == [None] * 20


def test_a_dead_process_is_found_though_the_set_of_processes_was_lost_after_its_death() -> None:
    plan = [Op(0.1, "start", 0, 1, 9), Op(0.9, "kill", 0, 0, 0), Op(1.6, "evict", 2, 0, 0)]
    assert [violation_of(seed, "redis", plan) for seed in range(20)] == [None] * 20


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_an_end_that_crashes_its_receivers_is_given_up(kind: str) -> None:
    plan = [Op(0.1, "start", 0, 1, 3), Op(0.15, "receiver", 0, 3, 0)]
    assert violation_of(3, kind, plan) is None
