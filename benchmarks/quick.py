"""Has the hot path become dearer? Told by ratio to the bare Flask generator of the same run."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.servers.table import BY_NAME
from benchmarks.workloads.base import SHORT
from benchmarks.workloads.base import Workload
from benchmarks.workloads.flat import FLAT
from benchmarks.workloads.flat import TICK
from benchmarks.workloads.paced import PACED

BASELINE = Path(__file__).parent / "baseline.json"

ROUNDS = 5
WORKLOADS = (FLAT, TICK, PACED)

DEARER = 1.15
"""By how much our cost, in bare Flask generators, may grow before it is a fault."""


def main(record: bool) -> int:
    """Measure, compare with the baseline or write it.

    :returns: Exit status.
    """
    costs = {workload.name: list(rounds(workload)) for workload in WORKLOADS}
    if record:
        middles = {name: round(median(ratios), 4) for name, ratios in costs.items()}
        BASELINE.write_text(json.dumps(middles, indent=2) + "\n", encoding="utf-8")
    baseline = json.loads(BASELINE.read_text(encoding="utf-8"))
    dear = [tell(name, ratios, baseline[name]) for name, ratios in costs.items()]
    return int(any(dear))


def rounds(workload: Workload) -> Iterator[float]:
    """In each round, what we cost in bare Flask generators."""
    metric = workload.metrics[0]
    for number in range(1, ROUNDS + 1):
        # Who comes first changes, so that a machine that slows down is unfair to both.
        names = ("ours", "flask") if number % 2 else ("flask", "ours")
        seen = {name: workload.measure(BY_NAME[name], SHORT)[metric.name] for name in names}
        ratio = seen["ours"] / seen["flask"]
        ratio = ratio if metric.better == "less" else 1 / ratio
        print(f"{workload.title}, round {number}: {ratio:.3f}", file=sys.stderr, flush=True)
        yield ratio


def tell(name: str, ratios: list[float], known: float) -> bool:
    """Print one line, and say whether it is too dear."""
    now = median(ratios)
    dear = now > known * DEARER
    print(
        f"{name}: {now:.3f} of a bare Flask generator ({min(ratios):.3f}–{max(ratios):.3f}), "
        f"baseline {known:.3f}: {'TOO DEAR' if dear else 'fine'}"
    )
    return dear
