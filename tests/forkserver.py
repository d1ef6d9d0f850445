"""Run Python modules as programs, in processes that are forked from one with finished imports.

``python -m gunicorn`` spends more CPU time on imports than most tests spend on requests, and the tests start about a hundred
servers. A *template* process, one for each test process, imports the programs and the package once. For each program it
forks a child, which sets its directory, environment and output, and runs the module as ``python -m`` does.

Under gevent the package is then imported before the standard library is patched, as with gunicorn's ``--preload``. With
``FRESH_INTERPRETERS=1``, as in ``make nightly``, each program gets an interpreter of its own, which imports after patching.
The tests of the example application always do.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import logging
import os
import random
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import typing as t
from pathlib import Path

from gunicorn.config import Chdir

ROOT = Path(__file__).parents[1]
IMPORTED = (
    "flask.cli",
    "gunicorn.app.wsgiapp",
    "gunicorn.workers.ggevent",
    "gunicorn.workers.gthread",
    "redis",
    "flask_aistream",
)
LARGEST = 1 << 20
"""Bytes of a request to the template, which contains an environment."""


class Program(t.Protocol):
    """The part of ``subprocess.Popen`` that tests of servers use."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, number: int, /) -> None: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


class ForkedProgram:
    """A running program.

    Only its parent, the template, can learn that it has ended.
    """

    def __init__(self, template: Template, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._template = template

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._template.ask({"poll": self.pid})
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """
        :raises subprocess.TimeoutExpired: It still runs after ``timeout`` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
            time.sleep(0.005)
        return status

    def send_signal(self, number: int, /) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(
    command: t.Sequence[str],
    *,
    cwd: Path,
    env: t.Mapping[str, str],
    output: t.IO[t.Any],
    alone: bool = False,
) -> Program:
    """Run ``python -m …``.

    :param output: File for its standard output and its standard error.
    :param alone: In a session and process group of its own.
    """
    python, flag, module, *args = command
    assert (python, flag) == (sys.executable, "-m"), command
    if os.environ.get("FRESH_INTERPRETERS"):
        return subprocess.Popen(
            command, cwd=cwd, env=env, stdout=output, stderr=output, start_new_session=alone
        )
    options = {"cwd": str(cwd), "env": {**env}, "alone": alone}
    return template().start({"module": module, "args": args, **options}, output.fileno())


@functools.cache
def template() -> Template:
    return Template()


class Template:
    """The process that forks, as seen from the tests. It ends with the test process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            number = theirs.fileno()
            command = [sys.executable, "-m", __name__, str(number)]
            self._process = subprocess.Popen(
                command, cwd=ROOT, pass_fds=[number], start_new_session=True
            )
        atexit.register(self.close)

    def start(self, program: dict[str, t.Any], output: int) -> ForkedProgram:
        return ForkedProgram(self, self.ask(program, output))

    def ask(self, request: dict[str, t.Any], *files: int) -> t.Any:
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(request).encode()], files)
            answer = self._socket.recv(LARGEST)
        assert answer, "the template has ended"
        return json.loads(answer)

    def close(self) -> None:
        self._socket.close()
        self._process.wait()


# In the template.


def serve(requests: socket.socket) -> t.Callable[[], None]:
    """Fork a child for each request, and answer when asked whether it has ended.

    :returns: In the child, what it is to run. The template itself exits when the test process closes its end.
    """
    while True:
        text, files, _, _ = socket.recv_fds(requests, LARGEST, 1)
        if not text:
            os._exit(0)
        request = json.loads(text)
        if "poll" in request:
            answer = status_of(request["poll"])
        else:
            answer = os.fork()
            if not answer:
                requests.close()
                return functools.partial(become, output=files[0], **request)
            os.close(files[0])
        requests.send(json.dumps(answer).encode())


def status_of(pid: int) -> int | None:
    """The exit status of a child, or minus the signal that ended it; ``None`` while it runs."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def become(
    module: str, args: list[str], cwd: str, env: dict[str, str], alone: bool, output: int
) -> None:
    """Run ``module`` as a new interpreter would."""
    if alone:
        os.setsid()
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.chdir(cwd)
    Chdir.default = cwd  # It is the directory of its import.
    os.environ.clear()
    os.environ.update(env)
    sys.path[0] = cwd
    sys.path[1:1] = filter(None, env.get("PYTHONPATH", "").split(os.pathsep))
    sys.argv = [module, *args]
    random.seed()  # Else all programs have the same random numbers.
    if env.get("PYTHONUNBUFFERED"):
        for stream in (sys.stdout, sys.stderr):
            t.cast(t.Any, stream).reconfigure(write_through=True)

    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    for name in IMPORTED:
        importlib.import_module(name)
    # At exit, gevent reports each handler that was created before it patched the locks of logging.
    vars(logging)["_handlerList"].clear()
    gc.collect()
    gc.freeze()  # Keeps their memory shared.
    serve(socket.socket(fileno=int(sys.argv[1])))()
