"""Real servers for these tests: gunicorn with the example application."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from tests.server.servers import DEADLINE
from tests.server.servers import NO_CONTROL_SOCKET
from tests.server.servers import ROOT
from tests.server.servers import free_port
from tests.server.servers import wait_for

KEYS = ("OPENAI_", "ANTHROPIC_", "AISTREAM_")


def environ_in(folder: Path) -> dict[str, str]:
    """Where the application keeps conversations: in a file, since threads cannot share a database in memory."""
    return {"EXAMPLE_DATABASE": f"sqlite:///{folder}/conversations.sqlite"}


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
        self._folder = tempfile.TemporaryDirectory()
        clean = {name: value for name, value in os.environ.items() if not name.startswith(KEYS)}
        command = [
            sys.executable,
            "-m",
            "gunicorn",
            "-k",
            "gevent",
            "-w",
            "1",
            *NO_CONTROL_SOCKET,
        ]
        command += ["-b", f"127.0.0.1:{self.port}", app]
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={
                **clean,
                "PYTHONPATH": str(ROOT),
                **environ_in(Path(self._folder.name)),
                **(environ or {}),
            },
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        wait_for(self._answers, "gunicorn to answer")

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
        self._folder.cleanup()
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
