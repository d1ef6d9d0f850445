"""The values of all rounds, and their medians, spreads and ratios."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from statistics import median

from benchmarks.workloads.base import Metric
from benchmarks.workloads.base import Values
from benchmarks.workloads.base import Workload

Key = tuple[str, str, str]
"""Workload, metric, server."""


@dataclass(frozen=True, slots=True)
class Results:
    """All values, a list with one for each round.

    :param faults: Errors of servers, a sentence each.
    """

    values: dict[Key, list[float]] = field(default_factory=lambda: defaultdict(list))
    faults: list[str] = field(default_factory=list)

    def add(self, workload: Workload, server: str, values: Values) -> None:
        for metric, value in values.items():
            self.values[workload.name, metric, server].append(value)

    def median(self, workload: Workload, metric: Metric, server: str) -> float | None:
        values = self.values.get((workload.name, metric.name, server))
        return median(values) if values else None

    def spread(self, workload: Workload, metric: Metric, server: str) -> tuple[float, float]:
        values = self.values[workload.name, metric.name, server]
        return min(values), max(values)

    def ratio(
        self, workload: Workload, metric: Metric, peer: str, ours: str = "ours"
    ) -> float | None:
        """How many times better ours is; above 1 if it is."""
        mine, other = self.median(workload, metric, ours), self.median(workload, metric, peer)
        if mine is None or other is None or not mine or not other:
            return None
        return mine / other if metric.better == "more" else other / mine

    def servers(self, workload: Workload) -> Iterator[str]:
        """Servers that took part, in the order of their first value."""
        yield from dict.fromkeys(server for name, _, server in self.values if name == workload.name)
