"""Random plans, and the smallest part of one that still fails."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable
from collections.abc import Sequence

from tests.simulation.world import Op
from tests.simulation.world import Violation
from tests.simulation.world import World

CLIENTS = ("start", "start", "start", "read", "read", "leave", "stop", "malformed")
FAULTS = (
    *("kill", "kill", "pause", "cut", "lose", "lose", "full", "jump"),
    *("roll_back", "evict", "receiver", "exit"),
)
KINDS = ("sqlite", "redis")
SECONDS = 8.0


def plan_of(seed: int) -> tuple[str, list[Op]]:
    """The kind of database and what happens."""
    chance = random.Random(seed)
    kind = KINDS[seed % len(KINDS)]
    # One fault in most plans, and kinds of faults in few: what one hides is found without it.
    faults = chance.sample(FAULTS, chance.choice((0, 1, 1, 2, 3, 6)))
    count = chance.randint(4, 16)
    kinds = [chance.choice(CLIENTS) for _ in range(count)]
    kinds += [chance.choice(faults) for _ in range(chance.randint(1, 5)) if faults]
    return kind, sorted(
        Op(chance.random() * SECONDS, it, *(chance.randrange(1000) for _ in range(3)))
        for it in kinds
    )


def violation_of(seed: int, kind: str, plan: Sequence[Op]) -> str | None:
    gc.disable()  # When a log is freed is a part of the schedule.
    try:
        World(seed, kind, plan).run()
    except Violation as error:
        return str(error)
    finally:
        gc.enable()
    return None


def shrink(plan: list[Op], fails: Callable[[list[Op]], bool], tries: int = 400) -> list[Op]:
    """Leave out operations for as long as it still fails."""
    at = 0
    while at < len(plan) and tries:
        smaller = plan[:at] + plan[at + 1 :]
        tries -= 1
        if fails(smaller):
            plan = smaller
        else:
            at += 1
    return plan


def report_of(seed: int) -> str | None:
    """The violation of a seed, and the smallest part of its plan that still has one."""
    kind, plan = plan_of(seed)
    if violation_of(seed, kind, plan) is None:
        return None
    smallest = shrink(plan, lambda smaller: violation_of(seed, kind, smaller) is not None)
    lines = [f"seed {seed}, like {kind}: {violation_of(seed, kind, smallest)}", *map(str, smallest)]
    return "\n    ".join(lines)
