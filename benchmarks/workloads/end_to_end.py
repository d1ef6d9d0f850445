"""L. A model's stream to the browser's, over the SDKs, as an application has it."""

from __future__ import annotations

import sys
import time
from bisect import bisect_left
from dataclasses import dataclass

from benchmarks.load import Load
from benchmarks.load import load
from benchmarks.process import Fault
from benchmarks.process import Running
from benchmarks.process import running
from benchmarks.servers.table import Server
from benchmarks.upstream import upstream
from benchmarks.workloads.base import Metric
from benchmarks.workloads.base import Scale
from benchmarks.workloads.base import Values
from benchmarks.workloads.base import Workload

WIRES = {"openai": "OpenAI chat", "anthropic": "Anthropic"}
RATE = 50
LEVELS = (
    20,
    30,
    40,
    50,
    60,
    70,
    80,
    100,
    125,
    150,
    200,
    250,
    300,
    350,
    400,
    450,
    500,
    550,
    600,
    700,
    800,
)
LOOKS = (80, 250, 500)

HELD = 0.98
"""Streams are held while this share of the tokens that are due arrives."""

RAMP = 4.0
SETTLE = 1.5
PATIENCE = 20.0
"""An overloaded server never begins some streams; it is then measured with those that it began."""

REQUESTS = 300
"""Short requests, one after the other, for each CPU second of the scale."""


@dataclass(frozen=True, slots=True)
class Look:
    """A server under one number of streams.

    :param share: Of the tokens due in the window, those that came in it.
    :param cpu: Of one token that came, in µs.
    :param p50: How late tokens were, in ms; and ``p99``.
    :param memory: Of one stream, in KiB.
    """

    share: float
    cpu: float
    p50: float
    p99: float
    memory: float


def measure(server: Server, scale: Scale) -> Values:
    values: Values = {}
    with upstream() as url:
        for wire in WIRES:
            values |= {
                f"{wire}_{name}": value for name, value in of_wire(server, wire, url, scale).items()
            }
    return values


def of_wire(server: Server, wire: str, url: str, scale: Scale) -> Values:
    looks: dict[int, Look | None] = {}

    def look(streams: int) -> Look | None:
        """``None`` where the server refuses or cuts streams, as an overloaded one may."""
        if streams not in looks:
            with running(server, UPSTREAM=url) as there:
                try:
                    looks[streams] = look_at(there, wire, streams, scale)
                except Fault as fault:
                    print(f"  {streams} streams: {fault}", file=sys.stderr)
                    looks[streams] = None
        return looks[streams]

    def breaks(streams: int) -> bool:
        seen = look(streams)
        return seen is None or seen.share < HELD

    levels = [level for level in LEVELS if level <= scale.most]
    first_broken = bisect_left(levels, True, key=breaks)
    values: Values = {"held": levels[first_broken - 1] if first_broken else 0}
    for streams in LOOKS:
        seen = look(streams)
        if seen is None:
            continue
        if streams == LOOKS[0]:
            values["memory"] = seen.memory
        values |= {
            f"share_{streams}": min(seen.share, 1.0) * 100,
            f"cpu_{streams}": seen.cpu,
            f"late50_{streams}": seen.p50,
            f"late99_{streams}": seen.p99,
        }
    with running(server, UPSTREAM=url) as there:
        values["first"] = first_token(there, wire, scale)
    return values


def look_at(there: Running, wire: str, streams: int, scale: Scale) -> Look:
    tokens = int((RAMP + SETTLE + scale.window + PATIENCE + 30) * RATE)
    path = f"{there.server.path}&wire={wire}&mode=paced&rate={RATE}&n={tokens}"
    there.get(f"{there.server.path}&wire={wire}&mode=flat&n=10")  # Imports and first connections.
    empty = there.memory()
    with Load(
        there,
        path,
        streams=streams,
        rate=RATE,
        ramp=RAMP,
        settle=SETTLE,
        window=scale.window,
        patience=PATIENCE,
    ) as client:
        client.ready()
        time.sleep(SETTLE)
        before, since = there.cpu(), time.monotonic()
        time.sleep(scale.window - 0.2)
        cpu, seconds = there.cpu() - before, time.monotonic() - since
        memory = there.memory()
        report = client.report()
    share = report["measured"] / (streams * RATE * scale.window)
    delivered = max(report["measured"] * seconds / scale.window, 1)
    late = report["late_ms"]
    return Look(share, cpu / delivered * 1e6, late["p50"], late["p99"], (memory - empty) / streams)


def first_token(there: Running, wire: str, scale: Scale) -> float:
    """µs from a request to its first token, on a connection that is kept."""
    path = f"{there.server.path}&wire={wire}&mode=flat&n=1"
    load(there, path, streams=1, tokens=1, repeat=50)
    report = load(there, path, streams=1, tokens=1, repeat=int(scale.cpu_seconds * REQUESTS))
    return float(report["first_us"]["p50"])


def metrics(wire: str, title: str) -> tuple[Metric, ...]:
    return (
        Metric(f"{wire}_held", f"{title}: streams held", "more", 0),
        *(Metric(f"{wire}_share_{n}", f"{title}: % delivered of {n}", "more", 0) for n in LOOKS),
        *(Metric(f"{wire}_cpu_{n}", f"{title}: CPU µs per token at {n}", "less", 0) for n in LOOKS),
        *(Metric(f"{wire}_late50_{n}", f"{title}: p50 late at {n}, ms", "less", 0) for n in LOOKS),
        *(Metric(f"{wire}_late99_{n}", f"{title}: p99 late at {n}, ms", "less", 0) for n in LOOKS),
        Metric(f"{wire}_first", f"{title}: first token, p50 µs", "less", 0),
        Metric(f"{wire}_memory", f"{title}: KiB per live stream of {LOOKS[0]}", "less", 0),
    )


END_TO_END = Workload(
    "end_to_end",
    "L, end to end",
    f"Streams of {RATE} tokens/s from a local server that speaks the model's wire, through the SDK or its raw "
    f"response, to the client; held while {HELD:.0%} of the tokens that are due arrive.",
    tuple(metric for wire, title in WIRES.items() for metric in metrics(wire, title)),
    measure,
    rounds=1,
    ours="ours-lean",
)
