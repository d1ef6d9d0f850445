"""G. Runs of a thousand to a million tokens: CPU and memory of a token, and the time to resume."""

from __future__ import annotations

import re

from benchmarks.load import load
from benchmarks.process import Running
from benchmarks.process import running
from benchmarks.servers.table import Server
from benchmarks.workloads.base import Metric
from benchmarks.workloads.base import Scale
from benchmarks.workloads.base import Values
from benchmarks.workloads.base import Workload

LENGTHS = (1_000, 10_000, 100_000, 1_000_000)
TOKENS_EACH_SECOND = 500_000
"""Tokens that are streamed for each CPU second of the scale, in runs of the measured length."""

STARTS = 200
RESUMES = 5

ID = re.compile(rb"^id: (\S+):0$", re.MULTILINE)
PLACES = {"start": 0.0, "middle": 0.5, "end": 1.0}


def measure(server: Server, scale: Scale) -> Values:
    values: Values = {}
    for length in (length for length in LENGTHS if length <= scale.most * 100):
        with running(server, AISTREAM_LOG_EVENTS="null") as there:
            values |= look_at(there, length, scale)
    return values


def look_at(there: Running, length: int, scale: Scale) -> Values:
    started = spend(there, 1, STARTS) / STARTS
    runs = max(1, int(scale.cpu_seconds * TOKENS_EACH_SECOND / length))
    # What a run costs besides its tokens is taken off: it would hide in the long ones.
    empty = there.memory()
    cpu = spend(there, length, runs) - runs * started
    values = {
        f"cpu_{length}": cpu / (runs * length) * 1e6,
        f"bytes_{length}": (there.memory() - empty) * 1024 / (runs * length),
    }
    run = ID.findall(there.get(f"{there.server.path}&mode=fresh&n={length}"))[0].decode()
    for place, share in PLACES.items():
        number = int((length - 1) * share)
        report = load(
            there,
            f"/ai/runs/{run}/events?last_event_id={run}:{number}",
            streams=1,
            any=True,
            tokens=length - number,
            repeat=RESUMES,
        )
        values[f"resume_{place}_{length}"] = report["first_us"]["p50"] / 1e3
    return values


def spend(there: Running, tokens: int, runs: int) -> float:
    path = f"{there.server.path}&mode=fresh&n={tokens}"
    before = there.cpu()
    load(there, path, streams=1, tokens=tokens, repeat=runs)
    return there.cpu() - before


def metrics(length: int) -> tuple[Metric, ...]:
    return (
        Metric(f"cpu_{length}", f"run of {length:,} tokens: CPU µs per token", "less", 2),
        Metric(f"bytes_{length}", f"run of {length:,} tokens: bytes held per token", "less", 0),
        *(
            Metric(
                f"resume_{place}_{length}",
                f"run of {length:,} tokens: resume at its {place}, ms",
                "less",
            )
            for place in PLACES
        ),
    )


GROWTH = Workload(
    "growth",
    "G, long runs",
    "One run after the other, flat, of the same 1,000 texts again and again (ours keeps such once); first "
    "token of a resumed connection.",
    tuple(metric for length in LENGTHS for metric in metrics(length)),
    measure,
    rounds=1,
)
