"""C. Memory of a stream while its provider is silent."""

from __future__ import annotations

import time

from benchmarks.load import Load
from benchmarks.process import Fault
from benchmarks.process import running
from benchmarks.servers.table import Server
from benchmarks.workloads.base import Metric
from benchmarks.workloads.base import Scale
from benchmarks.workloads.base import Values
from benchmarks.workloads.base import Workload

LEVELS = (1_000, 5_000, 10_000)
OPENING = 100
"""Streams that wait for their first token at a time."""

HEARTBEAT_SECONDS = 15.0
"""The default of every server that has heartbeats; memory is measured after the first."""


def measure(server: Server, scale: Scale) -> Values:
    levels = [level for level in LEVELS if level <= scale.most]
    values: Values = {}
    for streams in levels:
        values |= look_at(server, streams, HEARTBEAT_SECONDS + 1 if streams == levels[-1] else 1)
    return values


def look_at(server: Server, streams: int, seconds: float) -> Values:
    path = f"{server.path}&mode=silent&rate=600"
    with running(server) as there:
        empty = there.memory()
        with Load(there, path, streams=streams, opening=OPENING, hold=True) as client:
            client.ready()
            time.sleep(seconds)
            full = there.memory()
            client.leave()
            report = client.report()
    if report["alive"] != streams:
        raise Fault(f"{server.label}: {streams - report['alive']} of {streams} streams died")
    return {f"memory_{streams}": (full - empty) / streams, "beats": report["beats"] / streams}


IDLE = Workload(
    "idle",
    "C, idle streams",
    "Memory of a stream whose provider yields one token and then is silent.",
    (
        *(Metric(f"memory_{level}", f"KiB each of {level:,}", "less") for level in LEVELS),
        Metric("beats", "heartbeats each", "more"),
    ),
    measure,
    rounds=1,
)
