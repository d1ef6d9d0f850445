"""What a token costs more where other processes can read it: sqlite and redis against memory.

Applications are called in this process, without sockets, one store after the other in every round; the
least CPU time of each counts, as a busy machine can only add to it. It is that of all threads, the
database's too; a Redis server is another program, and not counted. Exits with 1 where a goal is missed;
``inf`` is what could not be measured, as the machine was too busy.
To be run with ``python -m gevent.monkey --module benchmarks.stores``, which patches the process as
gunicorn does.
"""

from __future__ import annotations

import itertools
import math
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import ExitStack
from contextlib import contextmanager
from functools import partial

import gevent
from flask import Flask

from benchmarks.hotpath import STEADY
from benchmarks.hotpath import Case
from benchmarks.hotpath import read
from benchmarks.hotpath import spend
from benchmarks.process import SERVER_CORE
from benchmarks.servers import ours
from benchmarks.workloads.stores import OPENINGS
from flask_aistream.web.extension import install

GOALS = {"sqlite": 1.3, "redis": 1.5}
"""CPU of a token, at most, in tokens of ``memory://``."""

SECONDS = 45
SETTLE_SECONDS = 0.3
WINDOW_SECONDS = 0.5
RATE = 50
PUNCTUAL = 0.8
"""Share of the tokens that leave by themselves, at least. Nothing is gained by fewer: it is writes that count."""


def never_waiting(app: Flask, case: Case) -> float:
    """Microseconds of CPU a token."""
    url = f"/ai/stream?prompt=x&mode={case.mode}&n={case.tokens}"
    return spend(app, url, case.streams) / (case.streams * case.tokens) * 1e6


def paced(app: Flask, case: Case) -> float:
    """Microseconds of CPU a token, measured while every run goes on.

    :returns: Infinity where the machine was too busy for each token to leave by itself.
    """
    url = f"/ai/stream?prompt=x&mode={case.mode}&n={case.tokens}&rate={RATE}"
    writes = itertools.count()
    readers = [gevent.spawn(read, app, url, partial(next, writes)) for _ in range(case.streams)]
    gevent.sleep(SETTLE_SECONDS)
    spent, started, first = time.process_time(), time.monotonic(), next(writes)
    gevent.sleep(WINDOW_SECONDS)
    spent, seconds = time.process_time() - spent, time.monotonic() - started
    count = next(writes) - first
    gevent.joinall(readers, raise_error=True)
    punctual = count > case.streams * RATE * seconds * PUNCTUAL
    return spent / count * 1e6 if punctual else math.inf


# Runs that never wait are long: where they start and end is a row of its own, without a goal.
FLAT = Case("flat", "flat", 4, 20_000)
TICK = Case("tick", "tick", 4, 5000)
PACED = Case("paced", "paced", 200, int(RATE * (2 * SETTLE_SECONDS + WINDOW_SECONDS)))
SHORT = Case("a run of one token", "flat", 20, 1)

ROWS: tuple[tuple[Case, Callable[[Flask, Case], float]], ...] = (
    (FLAT, never_waiting),
    (TICK, never_waiting),
    (PACED, paced),
    (SHORT, never_waiting),
)

Costs = dict[tuple[str, str], float]
"""By case and store."""


def main() -> int:
    # As a server in `make bench`: two threads on the two halves of a core would slow each other down.
    os.sched_setaffinity(0, {SERVER_CORE})
    with ExitStack() as stack:
        costs = measure({name: stack.enter_context(opened(name)) for name in OPENINGS})
    missed = False
    for case, _ in ROWS:
        memory = costs[case.name, "memory"]
        parts = [f"memory {memory:.2f} µs"]
        for name, goal in GOALS.items():
            cost = costs[case.name, name]
            exceeds = case is not SHORT and math.isfinite(cost) and cost > memory * goal
            missed |= exceeds
            parts.append(
                f"{name} {cost:.2f} (× {cost / memory:.2f}){' TOO MUCH' if exceeds else ''}"
            )
        print(f"{case.name}: {', '.join(parts)}")
    return int(missed)


def measure(apps: dict[str, Flask]) -> Costs:
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        for case, cost in ROWS:
            for name, app in apps.items():
                values[case.name, name].append(cost(app, case))
    return {key: min(several) for key, several in values.items()}


@contextmanager
def opened(name: str) -> Iterator[Flask]:
    """An application that keeps its runs in the store of this name."""
    with OPENINGS[name]() as url:
        app = Flask(__name__)
        app.config.update(STEADY, AISTREAM_STORE=url)
        app.register_blueprint(ours.ai, url_prefix="/ai")
        yield app
        install(app).process.store.close()


if __name__ == "__main__":
    sys.exit(main())
