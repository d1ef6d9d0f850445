"""B. How many streams at the pace of a model one core holds, and what it delivers beyond that."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from benchmarks.load import load
from benchmarks.process import running
from benchmarks.servers.table import Server
from benchmarks.workloads.base import Metric
from benchmarks.workloads.base import Scale
from benchmarks.workloads.base import Values
from benchmarks.workloads.base import Workload

RATE = 50
LEVELS = (
    *range(50, 300, 25),
    *range(300, 1000, 50),
    *range(1000, 2000, 100),
    *range(2000, 4001, 250),
)
BEYOND = (2000, 4000)

LATE_MS = 50.0
"""Streams are held while 99 of 100 tokens that are due arrive, and 99 of 100 are not later than this."""

RAMP = 4.0
SETTLE = 1.5
PATIENCE = 15.0
"""An overloaded server never begins some streams; it is then measured with those that it began."""


@dataclass(frozen=True, slots=True)
class Look:
    """A server under one number of streams.

    :param share: Of the tokens due in the window that came in it.
    :param late: p99, in ms.
    :param growth: By how much more p99 was late in the second half of the window, in ms.
    """

    share: float
    late: float
    growth: float

    @property
    def held(self) -> bool:
        return self.share >= 0.99 and self.late <= LATE_MS


def measure(server: Server, scale: Scale) -> Values:
    looks: dict[int, Look] = {}

    def look(streams: int) -> Look:
        if streams not in looks:
            looks[streams] = look_at(server, streams, scale)
        return looks[streams]

    levels = [level for level in LEVELS if level <= scale.most]
    broken = bisect_left(levels, True, key=lambda streams: not look(streams).held)
    values: Values = {"held": levels[broken - 1] if broken else 0}
    for streams in (level for level in BEYOND if level <= scale.most):
        seen = look(streams)
        values |= {f"share_{streams}": seen.share * 100, f"late_{streams}": seen.late}
        values[f"growth_{streams}"] = seen.growth
    return values


def look_at(server: Server, streams: int, scale: Scale) -> Look:
    tokens = int((RAMP + SETTLE + scale.window + PATIENCE + 60) * RATE)
    with running(server) as there:
        report = load(
            there,
            f"{server.path}&mode=paced&rate={RATE}&n={tokens}",
            streams=streams,
            rate=RATE,
            ramp=RAMP,
            settle=SETTLE,
            window=scale.window,
            patience=PATIENCE,
        )
    late = report["late_ms"]
    share = report["measured"] / (streams * RATE * scale.window)
    return Look(min(share, 1.0), late["p99"], late["late_p99"] - late["early_p99"])


CAPACITY = Workload(
    "capacity",
    "B, paced streams",
    f"Streams of {RATE} tokens/s that one core holds with p99 late ≤ {LATE_MS:.0f} ms, and the share of "
    "tokens delivered in time beyond.",
    (
        Metric("held", "streams held", "more", 0),
        Metric("share_2000", "% delivered of 2,000", "more"),
        Metric("late_2000", "p99 late of 2,000, ms", "less", 0),
        Metric("share_4000", "% delivered of 4,000", "more"),
        Metric("late_4000", "p99 late of 4,000, ms", "less", 0),
        Metric("growth_4000", "later by, within the window, ms", "less", 0),
    ),
    measure,
    rounds=1,
)
