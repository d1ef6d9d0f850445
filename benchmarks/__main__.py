"""``python -m benchmarks``: measure all servers, or compare our own hot path with its baseline (``--quick``)."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import plot
from benchmarks import quick
from benchmarks import report
from benchmarks.process import ROOT
from benchmarks.process import Fault
from benchmarks.results import Results
from benchmarks.servers.table import SERVERS
from benchmarks.servers.table import Server
from benchmarks.workloads.base import FULL
from benchmarks.workloads.base import SHORT
from benchmarks.workloads.base import Scale
from benchmarks.workloads.base import Workload
from benchmarks.workloads.table import WORKLOADS

PAGES = ROOT / "docs" / "reference"


def main() -> None:
    options = read_options()
    if options.quick or options.record:
        sys.exit(quick.main(record=options.record))
    workloads = [w for w in WORKLOADS if chosen(w.name, options.workloads)]
    servers = [s for s in SERVERS if chosen(s.name, options.servers)]
    scale = SHORT if options.short else FULL
    results = Results()
    measure(results, workloads, servers, options.rounds, scale)
    page = report.render(results, how(options.rounds, scale))
    print(page)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "benchmarks.md").write_text(page, encoding="utf-8")
    (options.out / "benchmarks.svg").write_text(plot.render(results), encoding="utf-8")
    sys.exit(int(any("flask_aistream" in fault for fault in results.faults)))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workloads", help="names, with commas; all unless given")
    parser.add_argument("--servers", help="names, with commas; all unless given")
    parser.add_argument("--short", action="store_true", help="shorter windows, fewer streams")
    parser.add_argument("--out", type=Path, default=PAGES, help="folder for the page and the plot")
    parser.add_argument(
        "--quick", action="store_true", help="fail if our hot path costs more than the baseline"
    )
    parser.add_argument("--record", action="store_true", help="write the baseline of --quick")
    return parser.parse_args()


def chosen(name: str, names: str | None) -> bool:
    return names is None or name in names.split(",")


def measure(
    results: Results,
    workloads: Sequence[Workload],
    servers: Sequence[Server],
    rounds: int,
    scale: Scale,
) -> None:
    """All servers, one after the other, in every round: changes of the machine's speed then affect all of them."""
    for workload in workloads:
        for number in range(1, min(rounds, workload.rounds) + 1):
            for server in servers:
                if workload.name not in server.does:
                    continue
                print(
                    f"{workload.title}, round {number}: {server.label}", file=sys.stderr, flush=True
                )
                try:
                    results.add(workload, server.name, workload.measure(server, scale))
                except Fault as fault:
                    results.faults.append(f"{workload.title}: {fault}")
                    print(f"  {fault}", file=sys.stderr)


def how(rounds: int, scale: Scale) -> str:
    short = " Short runs." if scale is SHORT else ""
    return (
        f"Measured on {time.strftime('%Y-%m-%d')}, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores, medians of {rounds} interleaved rounds (of one, where a round takes minutes).{short}"
    )


if __name__ == "__main__":
    main()
