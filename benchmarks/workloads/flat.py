"""A. A provider that does not wait (flat), or only yields to the event loop (tick)."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.load import load
from benchmarks.process import Running
from benchmarks.process import running
from benchmarks.servers.table import Server
from benchmarks.workloads.base import Metric
from benchmarks.workloads.base import Scale
from benchmarks.workloads.base import Values
from benchmarks.workloads.base import Workload

STREAMS = 32
TRIAL = 500
MOST_TOKENS = 20_000
"""Of one response. What a response costs besides its tokens must not count, nor a log of any length."""


def measuring(mode: str) -> Callable[[Server, Scale], Values]:
    def measure(server: Server, scale: Scale) -> Values:
        with running(server) as there:
            return {"speed": speed(there, mode, scale)}

    return measure


def speed(there: Running, mode: str, scale: Scale) -> float:
    """Thousands of tokens for each second of the server's CPU."""
    cpu_each = spend(there, mode, TRIAL, 1) / (STREAMS * TRIAL)
    wanted = scale.cpu_seconds / cpu_each / STREAMS
    tokens = int(min(max(wanted, TRIAL), MOST_TOKENS))
    turns = max(1, round(wanted / tokens))
    return STREAMS * tokens * turns / spend(there, mode, tokens, turns) / 1000


def spend(there: Running, mode: str, tokens: int, turns: int) -> float:
    """CPU seconds of the server for that many tokens on each stream, that many times."""
    path = f"{there.server.path}&mode={mode}&n={tokens}"
    before = there.cpu()
    load(there, path, streams=STREAMS, tokens=tokens, repeat=turns)
    return max(there.cpu() - before, 0.01)


SPEED = Metric("speed", "k tokens per CPU-second", "more", 0)

FLAT = Workload(
    "flat",
    "A, flat",
    f"{STREAMS} streams at once; the provider never waits.",
    (SPEED,),
    measuring("flat"),
)
TICK = Workload(
    "tick",
    "A, tick",
    f"{STREAMS} streams at once; the provider yields to the event loop after each token.",
    (SPEED,),
    measuring("tick"),
)
