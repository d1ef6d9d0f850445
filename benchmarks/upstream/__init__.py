"""A model's server of our own, in C, so that it is never what limits a measurement."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.process import CLIENT_CORE
from benchmarks.process import ROOT
from benchmarks.process import Fault
from benchmarks.process import free_port
from benchmarks.process import on_core
from benchmarks.servers.table import BUILT

START_SECONDS = 5.0


@contextmanager
def upstream() -> Iterator[str]:
    """Start it on the client's core, whose CPU is not counted.

    :returns: Its base URL, without the ``/v1`` of OpenAI's clients.
    """
    port = free_port()
    process = subprocess.Popen(on_core(CLIENT_CORE, [str(ROOT / BUILT / "upstream"), str(port)]))
    try:
        wait_until_it_accepts(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def wait_until_it_accepts(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise Fault("the upstream server does not start") from None
            time.sleep(0.02)
