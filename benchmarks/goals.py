"""Goals against each peer in one run, as ratios: absolute times differ between machines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.results import Results
from benchmarks.workloads.base import Metric
from benchmarks.workloads.base import Workload
from benchmarks.workloads.end_to_end import WIRES
from benchmarks.workloads.table import WORKLOADS


@dataclass(frozen=True, slots=True)
class Goal:
    """A row.

    :param at_least: How many times better than ``peer``; 0.8 allows a quarter worse.
    :param ours: The server that is to reach it.
    """

    workload: str
    metric: str
    peer: str
    at_least: float
    ours: str = "ours"


PYTHON_PEERS = ("flask", "starlette", "sse-starlette", "fastapi")

GOALS = (
    Goal("flat", "speed", "flask", 10),
    Goal("flat", "speed", "node", 1.7),
    Goal("flat", "speed", "sse-starlette", 14),
    Goal("flat", "speed", "fastapi", 40),
    Goal("tick", "speed", "flask", 4.5),
    Goal("tick", "speed", "node", 3.3),
    Goal("tick", "speed", "sse-starlette", 10),
    Goal("tick", "speed", "flask", 1.0, ours="ours-no-flush"),
    Goal("paced", "cpu", "flask", 1 / 0.75),
    Goal("paced", "cpu", "sse-starlette", 1 / 0.6),
    Goal("paced", "cpu", "fastapi", 1 / 0.25),
    Goal("paced", "cpu", "node", 1 / 1.2),
    Goal("paced", "late", "flask", 1.0),
    Goal("capacity", "held", "flask", 1.2),
    Goal("capacity", "held", "sse-starlette", 1.5),
    Goal("capacity", "held", "fastapi", 7),
    *(Goal("capacity", "share_4000", peer, 1.0) for peer in (*PYTHON_PEERS, "node")),
    Goal("idle", "memory_10000", "flask", 1 / 0.95),
    Goal("idle", "memory_10000", "sse-starlette", 2),
    Goal("first", "p50", "flask", 1 / 1.5),
    Goal("first", "p50", "fastapi", 1 / 0.65),
    Goal("fanout", "speed", "node", 7),
    *(Goal("fanout", "speed", peer, 30) for peer in PYTHON_PEERS),
    Goal("fanout", "cpu", "flask", 1 / 0.8),
    *(
        goal
        for wire in WIRES
        for goal in (
            Goal("end_to_end", f"{wire}_held", "flask-sdk", 12, ours="ours-lean"),
            Goal("end_to_end", f"{wire}_held", "fastapi-sdk", 11, ours="ours-lean"),
            Goal("end_to_end", f"{wire}_held", "node-sdk", 2, ours="ours-lean"),
            Goal("end_to_end", f"{wire}_held", "flask-sdk", 7, ours="ours-raw"),
            Goal("end_to_end", f"{wire}_cpu_500", "ours-alone", 1 / 1.25, ours="ours-lean"),
            Goal("end_to_end", f"{wire}_cpu_80", "ours-parsed", 1 / 0.2, ours="ours-raw"),
            Goal("end_to_end", f"{wire}_held", "flask-sdk", 1, ours="ours-parsed"),
            Goal("end_to_end", f"{wire}_share_80", "flask-sdk", 1, ours="ours-parsed"),
        )
    ),
)

LIMITS = {
    ("tick", "speed"): (
        "The provider alone, which yields to gevent's loop after each token, takes 1.4 to 2 µs of it (K)."
    ),
    ("paced", "cpu"): (
        "A greenlet that only sleeps takes 5 to 9 µs of each token (K), and what bare `sendall` takes "
        "under gevent, without Flask and without a log, is in the table."
    ),
    ("capacity", "held"): (
        "At 850 streams the core is full: then the flush interval grows to 40 of the 50 ms that a token may be "
        "late, which saves a third of the CPU of a token."
    ),
    ("capacity", "share_4000"): "4,000 greenlets that only sleep take the whole core (K).",
    ("idle", "memory_10000"): (
        "In KiB, each measured apart: a Flask generator 18.5, with `stream_with_context` 23.0, a greenlet "
        "for the provider, which goes on without its reader, 24.5, its application context 25.1; all "
        "three 29.6."
    ),
    ("first", "p50"): (
        "Where the time below the socket goes, in µs of one profile: Flask around the view 66, waiting for "
        "the provider's greenlet 55, beginning the run 36, attaching the reader 27, the response 17, "
        "reading the request 15."
    ),
}
"""Why a goal is missed, by workload and metric."""

BY_NAME: dict[tuple[str, str], tuple[Workload, Metric]] = {
    (workload.name, metric.name): (workload, metric)
    for workload in WORKLOADS
    for metric in workload.metrics
}


def reached(results: Results) -> Iterator[tuple[Goal, Workload, Metric, float]]:
    """Each goal that was measured, with the ratio that was reached."""
    for goal in GOALS:
        workload, metric = BY_NAME[goal.workload, goal.metric]
        ratio = results.ratio(workload, metric, goal.peer, goal.ours)
        if ratio is not None:
            yield goal, workload, metric, ratio
