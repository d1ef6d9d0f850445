"""The results as Markdown: one table of all servers, then the workloads that only ours runs, then the goals."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator

from benchmarks.goals import LIMITS
from benchmarks.goals import reached
from benchmarks.results import Results
from benchmarks.servers.table import BY_NAME
from benchmarks.workloads.base import Metric
from benchmarks.workloads.base import Workload
from benchmarks.workloads.table import WORKLOADS

HEAD = """\
# Benchmarks

This project and its peers, side by side. {how}

Each server is one process on a core of its own, the client is on another and checks that every token
arrives once and in order. Every server gets the same tokens as text from the same provider and encodes
them as JSON, in the way its own documentation shows; ours has everything on: heartbeats, disconnect
watcher, resume, limits, signals. `make bench` measures again and writes this page.

A cell is a median (min–max) and how many times better we are (**×**, above 1) in the same run. Times
differ from machine to machine, ratios much less.

![The medians as bars](benchmarks.svg)
"""


def render(results: Results, how: str) -> str:
    """The page.

    :param how: When and on which machine it was measured, in sentences.
    """
    shared = [w for w in WORKLOADS if len(list(results.servers(w))) > 1]
    alone = [w for w in WORKLOADS if len(list(results.servers(w))) == 1]
    parts = [HEAD.format(how=how), side_by_side(results, shared)]
    parts += [single(results, workload) for workload in alone]
    parts += [goals(results), about([*shared, *alone]), faults(results)]
    return "\n".join(part for part in parts if part)


def side_by_side(results: Results, workloads: list[Workload]) -> str:
    servers = [name for name in BY_NAME if any(name in results.servers(w) for w in workloads)]
    head = ["", *(BY_NAME[name].label for name in servers)]
    rows = [
        [
            f"{workload.title}: {metric.title}",
            *(cell(results, workload, metric, s) for s in servers),
        ]
        for workload in workloads
        for metric in workload.metrics
        if any(results.median(workload, metric, server) is not None for server in servers)
    ]
    return "## Side by side\n\n" + table(head, rows)


def cell(results: Results, workload: Workload, metric: Metric, server: str) -> str:
    text = figure(results, workload, metric, server)
    ratio = compared(results, workload, metric, server)
    return f"{text} ×{ratio:.2g}" if text and ratio and ratio < 10 else text_of_large(text, ratio)


def compared(results: Results, workload: Workload, metric: Metric, server: str) -> float | None:
    """How many times better ours is than a peer."""
    if server.startswith("ours"):
        return None
    return results.ratio(workload, metric, server, workload.ours)


def text_of_large(text: str, ratio: float | None) -> str:
    return f"{text} ×{ratio:,.0f}" if text and ratio else text or "–"


def figure(results: Results, workload: Workload, metric: Metric, server: str) -> str:
    middle = results.median(workload, metric, server)
    if middle is None:
        return ""
    low, high = results.spread(workload, metric, server)
    digits = metric.digits
    spread = f" ({low:,.{digits}f}–{high:,.{digits}f})" if low != high else ""
    return f"{middle:,.{digits}f}{spread}"


def single(results: Results, workload: Workload) -> str:
    (server,) = results.servers(workload)
    rows = [
        [metric.title, text]
        for metric in workload.metrics
        if (text := figure(results, workload, metric, server))
    ]
    return f"## {workload.title}\n\n" + table(["", BY_NAME[server].label], rows)


def goals(results: Results) -> str:
    rows = []
    limits: dict[str, None] = {}
    for goal, workload, metric, ratio in reached(results):
        missed = ratio < goal.at_least
        rows.append(
            [
                f"{workload.title}: {metric.title}",
                f"{BY_NAME[goal.ours].label} against {BY_NAME[goal.peer].label}",
                f"×{goal.at_least:.2f}",
                f"×{ratio:.2f}",
                "**no**" if missed else "yes",
            ]
        )
        limit = LIMITS.get((goal.workload, goal.metric))
        if missed and limit:
            limits[f"- **{workload.title}: {metric.title}.** {limit}\n"] = None
    if not rows:
        return ""
    why = "\n### What stands in the way\n\n" + "".join(limits) if limits else ""
    return "## Goals\n\n" + table(["", "", "at least", "is", "reached"], rows) + why


def about(workloads: Iterable[Workload]) -> str:
    return "## What is measured\n\n" + "".join(f"- **{w.title}.** {w.about}\n" for w in workloads)


def faults(results: Results) -> str:
    each = dict.fromkeys(results.faults)
    return "## Faults\n\n" + "".join(f"- {fault}\n" for fault in each) if each else ""


def table(head: list[str], rows: list[list[str]]) -> str:
    return "".join(f"| {' | '.join(line)} |\n" for line in lines(head, rows))


def lines(head: list[str], rows: list[list[str]]) -> Iterator[list[str]]:
    yield head
    yield ["---"] * len(head)
    yield from rows
