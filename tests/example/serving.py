"""Real servers for these tests: gunicorn with the example application, and a proxy that can cut."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 15.0
"""Seconds after which something that should happen is missing."""

KEYS = ("OPENAI_", "ANTHROPIC_", "AISTREAM_")


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"Not within {DEADLINE} s: {what}"
        time.sleep(0.01)


class Gunicorn:
    """gunicorn with one gevent worker, as ``make demo`` starts it.

    :param environ: Added to an environment that has no keys of models.
    """

    def __init__(
        self, environ: Mapping[str, str] | None = None, app: str = "example_app:create_app()"
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self._log = tempfile.TemporaryFile("w+")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(KEYS)}
        command = [
            sys.executable,
            "-m",
            "gunicorn",
            "-k",
            "gevent",
            "-w",
            "1",
            "--no-control-socket",
        ]
        command += ["-b", f"127.0.0.1:{self.port}", app]
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**clean, "PYTHONPATH": str(ROOT), **(environ or {})},
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        until(self._answers, "gunicorn answers")

    def close(self) -> None:
        """Stop it, and fail if it wrote a traceback."""
        self._process.send_signal(signal.SIGINT)  # At once, rather than after its connections.
        try:
            self._process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        log = self._read_log()
        self._log.close()
        assert "Traceback" not in log, log

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._read_log()
        try:
            with urllib.request.urlopen(self.url + "ai/health") as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def _read_log(self) -> str:
        self._log.seek(0)
        return self._log.read()


class Proxy:
    """Passes TCP on to ``port`` until told to cut: what a bad network does.

    Connections made while ``blocked`` is set are cut at once.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        self.blocked = threading.Event()
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Reset every connection that is open."""
        self.cuts += 1
        for one in list(self._sockets):
            reset(one)

    def close(self) -> None:
        # Waking accept() first: closing alone would leave it blocked.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        until(lambda: not self._sockets, "all connections are closed")

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.blocked.is_set():
                reset(client)
                client.close()
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._target)) as server:
            both = {client, server}
            self._sockets |= both
            back = threading.Thread(target=pass_on, args=(server, client), daemon=True)
            back.start()
            pass_on(client, server)
            back.join()
            self._sockets -= both


def pass_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def reset(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # Closing with this option sends RST instead of FIN; the shutdown wakes who reads it.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.shutdown(socket.SHUT_RDWR)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
