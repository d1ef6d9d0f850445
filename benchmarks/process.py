"""Processes under measurement: pinned to a core, with their CPU and memory."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import time
import typing as t
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from benchmarks.servers.table import Server

ROOT = Path(__file__).parent.parent

CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, CLIENT_CORE = CORES[0], CORES[-1]

TICKS = os.sysconf("SC_CLK_TCK")

START_SECONDS = 20.0
STOP_SECONDS = 5.0


class Fault(Exception):
    """A server did not start, or lost, repeated or cut something."""


class Running:
    """A server that answers.

    :ivar server: Its row of the table.
    """

    def __init__(self, server: Server, process: subprocess.Popen[bytes], port: int) -> None:
        self.server = server
        self.port = port
        self._process = process

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            return bytes(answer.read())

    def cpu(self) -> float:
        """Seconds of CPU all its processes have used."""
        return sum(map(cpu_seconds, tree(self._process.pid)))

    def memory(self) -> float:
        """KiB of its processes; shared pages count by their share (PSS)."""
        return sum(map(memory_kib, tree(self._process.pid)))


@contextmanager
def running(server: Server, **environ: str) -> t.Iterator[Running]:
    """Start a server, wait until it has streamed once, and end it."""
    port = free_port()
    process = subprocess.Popen(
        on_core(SERVER_CORE, [word.format(port=port) for word in server.command]),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **server.environ, **environ},
    )
    try:
        there = Running(server, process, port)
        wait_until_it_streams(there, process)
        yield there
    finally:
        end(process)


def on_core(core: int, words: list[str]) -> list[str]:
    """A command that runs on one core, with the hard limit of descriptors."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # The child inherits it.
    return ["taskset", "--cpu-list", str(core), *words]


def wait_until_it_streams(there: Running, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            there.get(f"{there.server.path}&mode=flat&n=10")
            return
        except (OSError, urllib.error.URLError):
            if process.poll() is not None or time.monotonic() > deadline:
                raise Fault(f"{there.server.label} does not start") from None
            time.sleep(0.05)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill it with its workers: a graceful stop would wait for open streams."""
    for pid in tree(
        process.pid
    ):  # The parent first: it would log the death of a worker, and start another.
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            continue
    process.wait(STOP_SECONDS)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def tree(pid: int) -> list[int]:
    """A process and all its children."""
    pids = [pid]
    for parent in pids:
        try:
            for task in os.listdir(f"/proc/{parent}/task"):
                pids += map(int, Path(f"/proc/{parent}/task/{task}/children").read_text().split())
        except FileNotFoundError:
            continue
    return pids


def cpu_seconds(pid: int) -> float:
    try:
        # The name, in brackets, may hold spaces.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_kib(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(float(line.split()[1]) for line in lines if line.startswith("Pss:"))
