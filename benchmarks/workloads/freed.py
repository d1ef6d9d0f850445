"""F. How soon a silent provider is ended after its client has left."""

from __future__ import annotations

import json
import time

from benchmarks.load import Load
from benchmarks.process import Running
from benchmarks.process import running
from benchmarks.servers.table import Server
from benchmarks.workloads.base import Metric
from benchmarks.workloads.base import Scale
from benchmarks.workloads.base import Values
from benchmarks.workloads.base import Workload

CROWD = 1_000
FEW = 30
"""Blocking providers that fit into the thread pool of an asyncio server (40)."""

SILENCE = 8.0
"""Seconds that the provider is silent."""

GIVEN_UP = SILENCE + 4.0
"""Seconds reported for a provider that had not ended by then."""


def measure(server: Server, scale: Scale) -> Values:
    crowd = min(CROWD, scale.most)
    values: Values = {}
    for kind in server.kinds:
        streams = crowd if kind == "async" or server.crowds else FEW
        times = sorted(look_at(server, kind, streams))
        values |= {f"{kind}_p50": times[len(times) // 2] * 1e3}
        values |= {f"{kind}_p99": times[int((len(times) - 1) * 0.99)] * 1e3}
    return values


def look_at(server: Server, kind: str, streams: int) -> list[float]:
    """Seconds from each client's leaving to the end of its provider."""
    path = f"{path_of(server, kind)}&mode=silent&rate={SILENCE}&i={{i}}"
    with running(server, AISTREAM_DETACH_SECONDS="0") as there:
        with Load(there, path, streams=streams, opening=50, leave=True, settle=0.5) as client:
            client.ready()
            closed = client.report()["closed"]
        freed = wait_for(there, streams)
    return [freed.get(i, left + GIVEN_UP) - left for i, left in enumerate(closed)]


def path_of(server: Server, kind: str) -> str:
    if server.path.startswith("/ai/") and kind == "async":
        return server.path.replace("/stream?", "/async-stream?")
    return server.path if kind == server.kinds[0] else server.sync_path


def wait_for(there: Running, streams: int) -> dict[int, float]:
    deadline = time.monotonic() + GIVEN_UP
    while True:
        freed = {int(index): at for index, at in json.loads(there.get("/freed"))}
        if len(freed) >= streams or time.monotonic() > deadline:
            return freed
        time.sleep(0.05)


FREED = Workload(
    "freed",
    "F, freed after the client left",
    f"{CROWD:,} clients leave at once while their providers are silent for {SILENCE:.0f} s "
    f"({FEW} where a blocking provider takes a thread); {GIVEN_UP:.0f} s means not until then.",
    (
        Metric("sync_p50", "blocking provider, p50 ms", "less"),
        Metric("sync_p99", "p99 ms", "less"),
        Metric("async_p50", "async provider, p50 ms", "less"),
        Metric("async_p99", "p99 ms", "less"),
    ),
    measure,
    rounds=1,
)
