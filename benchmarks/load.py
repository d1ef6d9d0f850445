"""The client, from Python: options in, a checked report out."""

from __future__ import annotations

import json
import subprocess
import threading
import typing as t

from benchmarks.process import CLIENT_CORE
from benchmarks.process import ROOT
from benchmarks.process import Fault
from benchmarks.process import Running
from benchmarks.process import on_core
from benchmarks.servers.table import BUILT

PATIENCE = 180.0
"""Seconds for one run of the client."""

Report = dict[str, t.Any]


class Load:
    """One run of the client against a server. Use it with ``with``.

    :param options: Of ``client/load.c``, by name; ``True`` for one without a value.
    """

    def __init__(self, server: Running, path: str, **options: t.Any) -> None:
        self._server = server
        words = [str(ROOT / BUILT / "load"), "--port", str(server.port), "--path", path]
        for name, value in options.items():
            if value is True:
                words.append(f"--{name.replace('_', '-')}")
            elif value:
                words += [f"--{name.replace('_', '-')}", str(value)]
        self._process = subprocess.Popen(
            on_core(CLIENT_CORE, words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._watchdog = threading.Timer(PATIENCE, self._process.kill)
        self._watchdog.start()

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *exception: object) -> None:
        self._watchdog.cancel()
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()

    def ready(self) -> None:
        """Wait until every stream has begun."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        if line.strip() != "ready":
            raise Fault(
                f"{self._server.server.label}: not every stream began: {line.strip()[:300]}"
            )

    def leave(self) -> None:
        """Let a client that holds its streams go."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def report(self) -> Report:
        """Wait for its end.

        :raises Fault: A token was lost, came twice or out of order, or a response was cut or refused.
        """
        # Not communicate(): it would not see what readline() has already read ahead.
        assert self._process.stdout
        lines = self._process.stdout.readlines()
        if not lines:
            raise Fault(f"{self._server.server.label}: not done within {PATIENCE} s")
        report: Report = json.loads(lines[-1])
        faults = {name: report[name] for name in ("wrong", "cut", "failed") if report[name]}
        if faults:
            raise Fault(f"{self._server.server.label}: {faults} of {report['tokens']} tokens")
        return report


def load(server: Running, path: str, **options: t.Any) -> Report:
    """Run the client to its end."""
    with Load(server, path, **options) as client:
        return client.report()
