"""What a workload is."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.servers.table import Server

Values = dict[str, float]
"""By the name of the metric. Metrics that could not be measured are left out."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How long to measure.

    :param cpu_seconds: Of the server, in a run that never waits.
    :param window: Seconds of a run that is paced.
    :param most: Streams, at most.
    """

    cpu_seconds: float
    window: float
    most: int


FULL = Scale(cpu_seconds=2.0, window=5.0, most=10_000)
SHORT = Scale(cpu_seconds=0.8, window=2.0, most=1_000)


@dataclass(frozen=True, slots=True)
class Metric:
    """One column.

    :param better: ``more`` or ``less``; ratios above 1 mean that ours is better.
    """

    name: str
    title: str
    better: t.Literal["more", "less"]
    digits: int = 1


@dataclass(frozen=True, slots=True)
class Workload:
    """A row of the table.

    :param name: As servers name it in ``does``.
    :param about: A sentence of the report.
    :param measure: One round against one server, which it starts.
    :param rounds: At most: some take minutes, and their values are steady.
    :param ours: The server of this project that peers are compared with.
    """

    name: str
    title: str
    about: str
    metrics: tuple[Metric, ...]
    measure: Callable[[Server, Scale], Values]
    rounds: int = 100
    ours: str = "ours"
