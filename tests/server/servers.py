"""Real server processes, on ports of their own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import typing as t
from collections.abc import Callable
from pathlib import Path

from gunicorn.config import Config

from tests import forkserver

ROOT = Path(__file__).parents[2]
DEADLINE = 15.0
"""Longest wait for anything, in seconds; reached only where something is broken."""

BUSY = 2.0
"""Programs that want to run, for each processor: from there on no time is judged."""

APP = "tests.server.app:create_app()"

# Newer versions of gunicorn open a socket for commands, one for all servers of a user.
KNOWS_CONTROL_SOCKET = "control_socket_disable" in Config().settings
NO_CONTROL_SOCKET = ["--no-control-socket"] if KNOWS_CONTROL_SOCKET else []


def gunicorn(kind: str, *options: str, grace: int = 6) -> list[str]:
    worker = ["-k", kind, *options, "--graceful-timeout", str(grace), *NO_CONTROL_SOCKET]
    return [sys.executable, "-m", "gunicorn", *worker, "-b", "127.0.0.1:{port}", "{app}"]


COMMANDS: dict[str, list[str]] = {
    "gevent": gunicorn("gevent"),
    "gthread": gunicorn("gthread", "--threads", "20"),
    "development": [
        sys.executable, "-m", "flask", "--app", "{app}", "run", "--port", "{port}", "--with-threads",
    ],
}  # fmt: skip

ALL = {**COMMANDS, "sync": gunicorn("sync")}
"""Also the worker class that the documentation advises against."""


class Server:
    """A running server, and the facts that its application recorded."""

    def __init__(
        self,
        kind: str,
        facts: Path,
        *,
        app: str = APP,
        options: tuple[str, ...] = (),
        **config: t.Any,
    ) -> None:
        self._launch(kind, free_port(), [*ALL[kind], *options], app, facts, config, alone=True)

    def _launch(
        self,
        kind: str,
        port: int,
        command: list[str],
        app: str,
        facts: Path,
        config: dict[str, t.Any],
        *,
        alone: bool = False,
    ) -> None:
        """
        :param alone: In a process group of its own, as in a terminal.
        """
        self.kind = kind
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._facts = facts
        self._output = open(facts.with_suffix(".out"), "a+b")
        self.process = forkserver.start(
            [part.format(port=port, app=app) for part in command],
            cwd=ROOT,
            env=environment(facts, config),
            output=self._output,
            alone=alone,
        )

    def wait_ready(self) -> None:
        wait_for(self._ready, f"{self.kind} to answer")

    def facts(self, fact: str, run: str | None = None) -> list[dict[str, t.Any]]:
        """Facts that the application recorded under this name."""
        return facts_in(self._facts, fact, run)

    def wait_fact(
        self, fact: str, run: str | None = None, seconds: float = DEADLINE
    ) -> dict[str, t.Any]:
        wait_for(lambda: bool(self.facts(fact, run)), f"the fact {fact!r}", seconds)
        return self.facts(fact, run)[0]

    def output(self) -> str:
        self._output.seek(0)
        return self._output.read().decode("utf-8", "replace")

    def leave(self) -> None:
        """Ask it to stop."""
        if self.process.poll() is None:
            self.process.terminate()

    def hurry(self) -> None:
        """Tell it to stop at once."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def press_ctrl_c(self) -> None:
        """As a terminal does: SIGINT to every process of the group; the arbiter then signals its workers
        again. Only once for gthread, whose own handler deadlocks when it is interrupted by itself."""
        if self.kind == "gthread":
            self.process.send_signal(signal.SIGINT)
        else:
            os.killpg(self.process.pid, signal.SIGINT)

    def stop(self, seconds: float = DEADLINE) -> None:
        """Ask it to stop, and wait until it has."""
        self.leave()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(DEADLINE)
        self._output.close()

    def _ready(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"{self.kind} did not start:\n{self.output()}")
        return accepts(self.port)


def accepts(port: int) -> bool:
    """Whether a server listens at a port of this machine."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def facts_in(file: Path, fact: str, run: str | None = None) -> list[dict[str, t.Any]]:
    if not file.exists():
        return []
    # The last line may be unfinished.
    lines = file.read_text("utf-8").split("\n")[:-1]
    found = [json.loads(line) for line in lines]
    return [it for it in found if it["fact"] == fact and run in (None, it.get("run"))]


def environment(facts: Path, config: dict[str, t.Any]) -> dict[str, str]:
    settings = {
        name: json.dumps(value) for name, value in config.items() if name.startswith("APP_")
    }
    others = {name: value for name, value in config.items() if not name.startswith("APP_")}
    return {**os.environ, "FACTS": str(facts), "PYTHONUNBUFFERED": "1", **settings, **others}


def is_busy() -> bool:
    """Whether so many other programs run that a time measured now would be theirs."""
    return os.getloadavg()[0] > BUSY * (os.cpu_count() or 1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], object], what: str, seconds: float = DEADLINE) -> None:
    """Return as soon as ``condition`` holds.

    :raises AssertionError: It did not within ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"Waited {seconds} s in vain for {what}.")
        time.sleep(0.005)
