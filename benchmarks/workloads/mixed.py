"""J. Paced streams go on while others come and go."""

from __future__ import annotations

import time

from benchmarks.load import Load
from benchmarks.process import running
from benchmarks.servers.table import Server
from benchmarks.workloads.base import Metric
from benchmarks.workloads.base import Scale
from benchmarks.workloads.base import Values
from benchmarks.workloads.base import Workload

STREAMS = 500
RATE = 50
CHURN = 50
RAMP = 2.0
SETTLE = 1.5
PATIENCE = 15.0


def measure(server: Server, scale: Scale) -> Values:
    tokens = int((RAMP + SETTLE + scale.window + 60) * RATE)
    with (
        running(server) as there,
        Load(
            there,
            f"{server.path}&mode=paced&rate={RATE}&n={tokens}",
            streams=STREAMS,
            rate=RATE,
            ramp=RAMP,
            settle=SETTLE,
            window=scale.window,
            churn=CHURN,
            patience=PATIENCE,
        ) as client,
    ):
        client.ready()
        time.sleep(SETTLE)
        before = there.cpu()
        time.sleep(scale.window - 0.1)
        cpu = there.cpu() - before
        report = client.report()
    share = report["measured"] / (STREAMS * RATE * scale.window)
    return {
        "cpu": cpu / (scale.window - 0.1) * 100,
        "share": min(share, 1.0) * 100,
        "late": report["late_ms"]["p99"],
        "first": report["first_us"]["p99"] / 1e3,
    }


MIXED = Workload(
    "mixed",
    "J, mixed",
    f"{STREAMS} streams of {RATE} tokens/s, while {CHURN} new ones start and {CHURN} clients leave each "
    "second.",
    (
        Metric("cpu", "% of a core", "less"),
        Metric("share", "% delivered", "more"),
        Metric("late", "p99 late, ms", "less"),
        Metric("first", "first token of new ones, p99 ms", "less"),
    ),
    measure,
)
