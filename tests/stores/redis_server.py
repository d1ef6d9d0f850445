"""A real Redis server, on a port of its own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import redis

from tests.server.servers import free_port
from tests.server.servers import wait_for

MISSING = (
    "redis-server is not installed, so the Redis store cannot be tested. "
    "Install it, on Debian with `apt-get install redis-server`."
)


class RedisServer:
    """
    :param options: As on its command line.
    """

    def __init__(self, folder: Path, *options: str, password: str | None = None) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.fail(MISSING, pytrace=False)
        self.port = free_port()
        login = f":{password}@" if password else ""
        self.url = f"redis://{login}127.0.0.1:{self.port}/0"
        self._command = [
            *(program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""),
            *("--dir", str(folder), "--loglevel", "warning", "--daemonize", "no"),
            *(("--requirepass", password) if password else ()),
            *options,
        ]
        self.client = redis.Redis.from_url(self.url)
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        wait_for(self._ready, "redis-server to answer")

    def stop(self) -> None:
        self.client.close()
        self.process.kill()
        self.process.wait()

    def _ready(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False
