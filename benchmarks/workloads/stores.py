"""H. What it costs to keep the log where other processes can read it."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import typing as t
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextlib import contextmanager
from contextlib import nullcontext
from pathlib import Path

from benchmarks.process import CLIENT_CORE
from benchmarks.process import Fault
from benchmarks.process import free_port
from benchmarks.process import on_core
from benchmarks.process import running
from benchmarks.servers.table import Server
from benchmarks.workloads.base import Metric
from benchmarks.workloads.base import Scale
from benchmarks.workloads.base import Values
from benchmarks.workloads.base import Workload
from benchmarks.workloads.flat import speed
from benchmarks.workloads.paced import costs


def measure(server: Server, scale: Scale) -> Values:
    values: Values = {}
    for name, opening in OPENINGS.items():
        try:
            with opening() as url, running(server, AISTREAM_STORE=json.dumps(url)) as there:
                values[f"{name}_flat"] = speed(there, "flat", scale)
                values[f"{name}_tick"] = speed(there, "tick", scale)
                values[f"{name}_paced"] = costs(there, scale)["cpu"]
        except Fault as fault:
            print(f"  {name}: {fault}", file=sys.stderr)
    return values


@contextmanager
def sqlite() -> t.Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite:///{folder}/runs.db"


@contextmanager
def redis() -> t.Iterator[str]:
    """A Redis of our own, beside the client: its CPU is not the server's."""
    if not shutil.which("redis-server"):
        raise Fault("there is no redis-server")
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        words = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        log = (Path(folder) / "log").open("wb")
        process = subprocess.Popen(on_core(CLIENT_CORE, words), cwd=folder, stdout=log)
        try:
            wait_for(port)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()
            process.wait()
            log.close()


def wait_for(port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.05)
    raise Fault("redis-server does not start")


OPENINGS: dict[str, Callable[[], AbstractContextManager[str]]] = {
    "memory": lambda: nullcontext("memory://"),
    "sqlite": sqlite,
    "redis": redis,
}

STORES = Workload(
    "stores",
    "H, stores",
    "The same streams as in A and G0, in each store. Redis runs on the client's core and is not counted. "
    "A token is to cost at most 1.3 times the CPU of memory in SQLite, and 1.5 times in Redis. "
    "`make bench-stores` compares them in one process, without sockets, where every write is counted.",
    tuple(
        metric
        for name in OPENINGS
        for metric in (
            Metric(f"{name}_flat", f"{name}, flat: k tokens per CPU-second", "more", 0),
            Metric(f"{name}_tick", f"{name}, tick: k tokens per CPU-second", "more", 0),
            Metric(f"{name}_paced", f"{name}, paced: CPU µs per token", "less"),
        )
    ),
    measure,
)
