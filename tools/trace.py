"""Count the files and functions of the package that a prompt, a token, a stop and a drain enter.

    python tools/trace.py            # counts
    python tools/trace.py --names    # and the functions, in the order of their first call

One gunicorn worker with threads serves two slow providers with a profile function installed. A step is the
time between two marks. Functions that also run while nothing happens (timers, sweeps) are left out.
"""

from __future__ import annotations

import argparse
import collections
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import typing as t
from pathlib import Path

STEPS = ("prompt", "token", "stop", "drain")
PACKAGE = f"{os.sep}flask_aistream{os.sep}"
IDLE_SECONDS = 6.0
"""Longer than the rarest of the timers."""


# -- In the worker ---------------------------------------------------------------------------------


def create_app() -> t.Any:
    """The application that is traced; gunicorn calls this."""
    from flask import Flask

    from flask_aistream import AIStream

    tracer = Tracer(Path(os.environ["TRACE_FILE"]))
    gate = threading.Semaphore(0)
    ai = AIStream()

    @ai.provider
    def chat(request: t.Any) -> t.Iterator[str]:
        while True:
            yield "token "
            while not gate.acquire(blocking=False):
                time.sleep(0.02)

    app = Flask(__name__)
    app.register_blueprint(ai, url_prefix="/ai")

    @app.get("/mark/<step>")
    def mark(step: str) -> str:
        tracer.begin(step)
        return step

    @app.get("/release")
    def release() -> str:
        gate.release()
        return ""

    tracer.install()
    return app


class Tracer:
    """Collects the functions that are entered in each step, in order."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._step = "start"
        self._entered: dict[str, dict[str, None]] = collections.defaultdict(dict)

    def install(self) -> None:
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)

    def begin(self, step: str) -> None:
        self._step = step
        self._path.write_text(json.dumps({k: list(v) for k, v in dict(self._entered).items()}))

    def _profile(self, frame: t.Any, event: str, argument: object) -> None:
        code = frame.f_code
        if event == "call" and PACKAGE in code.co_filename:
            file = code.co_filename.rpartition(PACKAGE)[2]
            self._entered[self._step][f"{file}:{code.co_qualname}"] = None
            if self._step == "drain":  # The process ends without another mark.
                self.begin("drain")


# -- In the caller ---------------------------------------------------------------------------------


def trace() -> dict[str, list[str]]:
    """Functions by step."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "trace.json")
        port = free_port()
        server = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-k", "gthread", "--threads", "20", "-b",
             f"127.0.0.1:{port}", "--graceful-timeout", "5", "--no-control-socket",
             "trace:create_app()"],
            cwd=Path(__file__).parent,
            env={**os.environ, "TRACE_FILE": str(path), "PYTHONPATH": str(Path(__file__).parents[1])},
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            play(port, server)
            server.wait(30)
        finally:
            server.kill()
            server.wait()
        entered = json.loads(path.read_text())
    idle = set(entered.get("idle", ()))
    return {
        step: [name for name in entered.get(step, ()) if step == "drain" or name not in idle]
        for step in STEPS
    }


def play(port: int, server: subprocess.Popen[bytes]) -> None:
    wait_for(port)
    get(port, "/ai/health")
    get(port, "/mark/idle")
    time.sleep(IDLE_SECONDS)
    get(port, "/mark/prompt")
    stream = http.client.HTTPConnection("127.0.0.1", port)
    stream.request("GET", "/ai/chat?prompt=Hi")
    response = stream.getresponse()
    run = response.headers["AIStream-Run"]
    read_until(response, b"token ")
    get(port, "/mark/token")
    get(port, "/release")
    read_until(response, b"token ")
    get(port, "/mark/stop")
    with_post(port, f"/ai/runs/{run}/stop")
    read_until(response, b"terminate")
    get(port, "/mark/between")
    stream.close()
    other = http.client.HTTPConnection("127.0.0.1", port)
    other.request("GET", "/ai/chat?prompt=Hi")
    read_until(other.getresponse(), b"token ")
    get(port, "/mark/drain")
    server.send_signal(signal.SIGTERM)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def wait_for(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("gunicorn did not start")


def get(port: int, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", path)
    connection.getresponse().read()
    connection.close()


def with_post(port: int, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("POST", path)
    connection.getresponse().read()
    connection.close()


def read_until(response: http.client.HTTPResponse, text: bytes) -> None:
    seen = b""
    while text not in seen:
        data = response.read1(65536)
        if not data:
            raise SystemExit(f"the stream ended before {text!r}: {seen[-300:]!r}")
        seen += data


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--names", action="store_true", help="print the functions too")
    names = arguments.parse_args().names
    for step, functions in trace().items():
        files = {name.partition(":")[0] for name in functions}
        print(f"{step:7} {len(functions):4} functions in {len(files):3} files")
        for name in functions if names else ():
            print("        ", name)


if __name__ == "__main__":
    main()
