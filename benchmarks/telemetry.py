"""What log lines, spans and metrics add to the CPU time of a paced token.

The same application with and without them is called in this process, without sockets, by turns. The median of the pairs'
ratios counts, with the quartiles: the speed of a core of a virtual machine changes by a fifth within seconds. Exits with 1
if that of a paced token exceeds the goal. tests/telemetry/test_cost.py shows that nothing of it runs
for a token. What the end of a run adds is a row of its own, without a goal. To be run with
``python -m gevent.monkey --module benchmarks.telemetry``, which patches the process as gunicorn does.
"""

from __future__ import annotations

import io
import logging
import math
import os
import statistics
import sys
import time
from collections.abc import Callable

import gevent
from flask import Flask
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry

from benchmarks.hotpath import STEADY
from benchmarks.hotpath import Case
from benchmarks.hotpath import read
from benchmarks.process import SERVER_CORE
from benchmarks.servers import ours
from benchmarks.stores import PACED
from benchmarks.stores import paced
from flask_aistream.telemetry.logs import log_runs
from flask_aistream.telemetry.metrics import measure_runs
from flask_aistream.telemetry.traces import trace_runs

GOAL = 1.03
"""CPU time of a paced token with telemetry, at most, in that of a token without."""

PAIRS = 40
RATE = 50
SETTLE_SECONDS = 0.2
"""In which the ends of the runs are delivered."""

WHOLE = Case("a run of 100 tokens, from its start to its end", "paced", 100, 100)


def whole(app: Flask, case: Case) -> float:
    """Microseconds of CPU a token, with the starts and ends of the runs."""
    url = f"/ai/stream?prompt=x&mode={case.mode}&n={case.tokens}&rate={RATE}"
    spent = time.process_time()
    readers = [gevent.spawn(read, app, url) for _ in range(case.streams)]
    gevent.joinall(readers, raise_error=True)
    gevent.sleep(SETTLE_SECONDS)
    return (time.process_time() - spent) / (case.streams * case.tokens) * 1e6


Cost = Callable[[Flask, Case], float]
ROWS: tuple[tuple[Case, Cost], ...] = ((PACED, paced), (WHOLE, whole))


def main() -> int:
    os.sched_setaffinity(0, {SERVER_CORE})
    bare, observed = application(), application()
    observe(observed)
    return max([row(bare, observed, case, cost) for case, cost in ROWS])


def row(bare: Flask, observed: Flask, case: Case, cost: Cost) -> int:
    """Measure and print one row.

    :returns: 1 if it misses the goal.
    """
    pairs = [pair(bare, observed, case, cost, number) for number in range(PAIRS + 1)][1:]
    pairs = [costs for costs in pairs if math.isfinite(sum(costs))]
    if len(pairs) < PAIRS / 2:
        print(f"{case.name}: the machine was too busy.")
        return 1
    plain, observing = (statistics.median(costs) for costs in zip(*pairs, strict=True))
    low, ratio, high = statistics.quantiles([with_it / bare for bare, with_it in pairs], n=4)
    print(
        f"{case.name}: {plain:.2f} and {observing:.2f} µs a token; with telemetry × {ratio:.3f}, half of "
        f"{len(pairs)} pairs from {low:.3f} to {high:.3f}; added to a run: {plain * (ratio - 1) * case.tokens:.0f} µs"
    )
    return int(case is PACED and ratio > GOAL)


def application() -> Flask:
    app = Flask(__name__)
    app.config.update(STEADY)
    app.register_blueprint(ours.ai, url_prefix="/ai")
    return app


def observe(app: Flask) -> None:
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))
    runs = logging.getLogger("flask_aistream.runs")
    runs.setLevel(logging.INFO)
    runs.addHandler(logging.StreamHandler(io.StringIO()))
    log_runs(app)
    trace_runs(app, provider)
    measure_runs(app, CollectorRegistry())


def pair(bare: Flask, observed: Flask, case: Case, cost: Cost, number: int) -> tuple[float, float]:
    """CPU of a token without and with telemetry. Which of them comes first alternates."""
    if number % 2:
        with_it = cost(observed, case)
        return cost(bare, case), with_it
    return cost(bare, case), cost(observed, case)


if __name__ == "__main__":
    sys.exit(main())
