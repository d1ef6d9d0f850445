"""E. One run, a thousand readers."""

from __future__ import annotations

import json
import urllib.request

from benchmarks.load import Load
from benchmarks.process import Running
from benchmarks.process import running
from benchmarks.servers.table import Server
from benchmarks.workloads.base import Metric
from benchmarks.workloads.base import Scale
from benchmarks.workloads.base import Values
from benchmarks.workloads.base import Workload

READERS = 1_000
RATE = 50
TRIAL = 20
MOST_TOKENS = 5_000


def measure(server: Server, scale: Scale) -> Values:
    readers = min(READERS, scale.most)
    trial = spend(server, readers, "flat", TRIAL)
    # The trial is mostly the thousand beginnings and ends, which are taken off again.
    tokens = TRIAL + min(int(3 * scale.cpu_seconds / trial * TRIAL), MOST_TOKENS)
    flat = spend(server, readers, "flat", tokens) - trial
    paced = int(scale.window * RATE)
    return {
        "speed": (tokens - TRIAL) * readers / max(flat, 0.01) / 1000,
        "cpu": spend(server, readers, "paced", paced) / (paced * readers) * 1e6,
    }


def spend(server: Server, readers: int, mode: str, tokens: int) -> float:
    """CPU seconds from the first token to the last reader's end."""
    query = f"mode={mode}&rate={RATE}&n={tokens}"
    with running(server) as there:
        path = path_of_run(there, query) if server.path.startswith("/ai/") else "/fan"
        with Load(there, path, streams=readers, tokens=tokens, opening=100, by_head=True) as client:
            client.ready()
            before = there.cpu()
            there.get(f"/go?{query}")
            client.report()
            return there.cpu() - before


def path_of_run(there: Running, query: str) -> str:
    """Begin the run that all will read. It waits for /go, and does not need its first reader."""
    url = f"http://127.0.0.1:{there.port}/ai/fan?prompt=x&{query}"
    with urllib.request.urlopen(url) as answer:
        for line in answer:
            if line.startswith(b'data: {"run"'):
                return str(json.loads(line[6:])["events"])
    raise AssertionError("the stream has no run event")


FANOUT = Workload(
    "fanout",
    "E, fan-out",
    f"One source and {READERS:,} readers, at once (flat) and at {RATE} tokens/s (paced).",
    (
        Metric("speed", "flat, k deliveries per CPU-second", "more", 0),
        Metric("cpu", "paced, CPU µs per delivery", "less"),
    ),
    measure,
    rounds=1,
)
