"""G0. What a token costs at the pace of a model, and what a live stream holds in memory."""

from __future__ import annotations

import time

from benchmarks.load import Load
from benchmarks.process import Running
from benchmarks.process import running
from benchmarks.servers.table import Server
from benchmarks.workloads.base import Metric
from benchmarks.workloads.base import Scale
from benchmarks.workloads.base import Values
from benchmarks.workloads.base import Workload

STREAMS = 500
RATE = 50
RAMP = 2.0
SETTLE = 1.0


def measure(server: Server, scale: Scale) -> Values:
    with running(server) as there:
        return costs(there, scale)


def costs(there: Running, scale: Scale) -> Values:
    tokens = int((RAMP + SETTLE + scale.window + 60) * RATE)
    path = f"{there.server.path}&mode=paced&rate={RATE}&n={tokens}"
    empty = there.memory()
    with Load(
        there,
        path,
        streams=STREAMS,
        rate=RATE,
        ramp=RAMP,
        settle=SETTLE,
        window=scale.window,
    ) as client:
        client.ready()
        time.sleep(SETTLE)
        before = there.cpu()
        time.sleep(scale.window - 0.1)
        # The tokens of the window are counted by the client, which stops a moment later.
        cpu, memory = there.cpu() - before, there.memory()
        report = client.report()
    delivered = report["measured"] * (scale.window - 0.1) / scale.window
    return {
        "cpu": cpu / delivered * 1e6,
        "late": report["late_ms"]["p99"],
        "memory": (memory - empty) / STREAMS,
    }


PACED = Workload(
    "paced",
    "G0, CPU of a paced token",
    f"{STREAMS} streams of {RATE} tokens/s each.",
    (
        Metric("cpu", "CPU µs per token", "less"),
        Metric("late", "p99 late, ms", "less"),
        Metric("memory", "KiB per live stream", "less"),
    ),
    measure,
)
