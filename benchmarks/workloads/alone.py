"""K. CPU of a paced provider under gevent before anything is sent: a limit for every server that uses it."""

from __future__ import annotations

import json
import subprocess

from benchmarks.process import ROOT
from benchmarks.process import SERVER_CORE
from benchmarks.process import on_core
from benchmarks.servers.table import Server
from benchmarks.workloads.base import Metric
from benchmarks.workloads.base import Scale
from benchmarks.workloads.base import Values
from benchmarks.workloads.base import Workload
from benchmarks.workloads.capacity import RATE
from benchmarks.workloads.flat import STREAMS

LEVELS = (500, 1000, 2000, 4000)


def measure(server: Server, scale: Scale) -> Values:
    values: Values = {"tick": cost(server, "tick", STREAMS, scale)}
    for streams in (level for level in LEVELS if level <= scale.most):
        each = cost(server, "paced", streams, scale)
        values |= {f"cpu_{streams}": each, f"core_{streams}": each * streams * RATE / 1e4}
    return values


def cost(server: Server, mode: str, streams: int, scale: Scale) -> float:
    """CPU of a token, in µs."""
    words = [*server.command, mode, str(streams), str(scale.window)]
    output = subprocess.run(
        on_core(SERVER_CORE, words), cwd=ROOT, check=True, capture_output=True, timeout=120
    ).stdout
    seen = json.loads(output)
    return float(seen["cpu"] / seen["tokens"] * 1e6)


def metrics(streams: int) -> tuple[Metric, ...]:
    return (
        Metric(f"cpu_{streams}", f"{streams:,} streams: CPU µs per token", "less"),
        Metric(f"core_{streams}", f"{streams:,} streams: % of a core", "less", 0),
    )


ALONE = Workload(
    "alone",
    "K, provider alone",
    f"{STREAMS} streams that tick, and streams of {RATE} tokens/s, under gevent, without a reader: the rest "
    "of the core is what any server under gevent has for them.",
    (
        Metric("tick", f"{STREAMS} streams that tick: CPU µs per token", "less", 2),
        *(metric for streams in LEVELS for metric in metrics(streams)),
    ),
    measure,
)
