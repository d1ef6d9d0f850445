"""D. How long the first token takes, on a connection that is kept."""

from __future__ import annotations

from benchmarks.load import load
from benchmarks.process import running
from benchmarks.servers.table import Server
from benchmarks.workloads.base import Metric
from benchmarks.workloads.base import Scale
from benchmarks.workloads.base import Values
from benchmarks.workloads.base import Workload

EACH_SECOND = 1000
"""Requests that are asked one after the other, for each CPU second of the scale."""


def measure(server: Server, scale: Scale) -> Values:
    with running(server) as there:
        path = f"{server.path}&mode=flat&n=1"
        load(there, path, streams=1, tokens=1, repeat=200)
        report = load(there, path, streams=1, tokens=1, repeat=int(scale.cpu_seconds * EACH_SECOND))
    return {"p50": report["first_us"]["p50"], "p99": report["first_us"]["p99"]}


FIRST = Workload(
    "first",
    "D, first token",
    "Time from the request to the first token, one request after the other on one connection.",
    (Metric("p50", "p50, µs", "less", 0), Metric("p99", "p99, µs", "less", 0)),
    measure,
)
