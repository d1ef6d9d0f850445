"""gunicorn with several workers, and connections to the one of them that is wanted."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import sqlite3
import typing as t
from collections.abc import Iterator
from pathlib import Path

from flask_aistream.sse.decode import Decoder
from flask_aistream.sse.frame import Frame
from tests.server.servers import DEADLINE
from tests.server.servers import Server
from tests.server.servers import free_port
from tests.server.servers import gunicorn
from tests.server.servers import wait_for
from tests.server.wire import text_of

APP = "tests.workers.app:create_app()"
THREADS = ("--threads", "20")


class Workers(Server):
    """A running gunicorn."""

    def __init__(
        self,
        kind: str,
        count: int,
        facts: Path,
        *,
        app: str = APP,
        options: tuple[str, ...] = (),
        **config: t.Any,
    ) -> None:
        self.count = count
        self._store: str = config.get("APP_AISTREAM_STORE", "")
        threads = THREADS if kind == "gthread" else ()
        command = gunicorn(kind, "-w", str(count), "--keep-alive", "30", *threads)
        self._launch(kind, free_port(), [*command, *options], app, facts, config)

    def pids(self) -> list[int]:
        """Of all workers that answer, once there are as many as there should be."""
        with contextlib.ExitStack() as held:
            found: dict[int, None] = {}

            def all_seen() -> bool:
                line = held.enter_context(Line(self.port))
                found[line.pid] = None
                return len(found) == self.count

            try:
                wait_for(all_seen, f"{self.count} workers")
            except OSError as error:
                raise AssertionError(f"The workers do not answer:\n{self.output()}") from error
            return list(found)

    def line(self, pid: int) -> Line:
        """A connection to this worker."""
        # Those to other workers stay open meanwhile: the kernel gives the next one to somebody else.
        with contextlib.ExitStack() as others:
            while True:
                line = Line(self.port)
                if line.pid == pid:
                    return line
                others.enter_context(line)

    def kill(self, pid: int) -> None:
        """As the out-of-memory killer does it."""
        os.kill(pid, signal.SIGKILL)

    @contextlib.contextmanager
    def paused(self, pid: int) -> Iterator[None]:
        """A worker stands still, but not in the midst of writing to an SQLite file: until it went on, it
        would keep all others from writing, too."""
        os.kill(pid, signal.SIGSTOP)
        try:
            while not self._can_write():
                os.kill(pid, signal.SIGCONT)
                wait_for(self._can_write, "the end of a write")
                os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold an exclusive lock on the server's SQLite file."""
        path = self._store.removeprefix("sqlite://")
        with contextlib.closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as file:
            file.execute("BEGIN EXCLUSIVE")
            yield
            file.execute("ROLLBACK")

    def _can_write(self) -> bool:
        kind, _, path = self._store.partition("://")
        if kind != "sqlite":
            return True
        with contextlib.closing(sqlite3.connect(path, timeout=0.5, isolation_level=None)) as file:
            try:
                file.executescript("BEGIN IMMEDIATE; ROLLBACK")
            except sqlite3.OperationalError:
                return False
        return True


class Line:
    """One connection, and so one worker."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
        self.pid = 0
        self.status = 0
        self.headers: t.Any = None
        self.run = ""
        self.frames: list[Frame] = []
        self._decoder = Decoder()
        self._response: t.Any = None
        self._left: Iterator[Frame] = iter(())
        self.pid = self.call("/pid")

    def call(self, path: str, body: t.Any = None, **headers: str) -> t.Any:
        """JSON of one answer."""
        data = self._ask(path, body, headers).read()
        return json.loads(data) if data else None

    def stream(self, path: str, body: t.Any = None, **headers: str) -> Line:
        """Begin to read an event stream."""
        self._response = self._ask(path, body, headers)
        self._left = self._read()
        return self

    def raw(self) -> bytes:
        """The rest of the stream as it comes, in whichever dialect."""
        return t.cast(bytes, self._response.read())

    def text(self, end: str | None = None) -> str:
        """The text of the stream from here until it ends with ``end``, or to its very end."""
        read = ""
        for frame in self._left:
            self.frames.append(frame)
            read += text_of(frame)
            if end is not None and read.endswith(end):
                return read
        assert end is None, f"The stream ended with {read[-100:]!r} before {end!r} came."
        return read

    def reason(self) -> str | None:
        """How the run ended, by the last frame."""
        return t.cast("str | None", json.loads(self.frames[-1].data or "{}").get("reason"))

    def failure(self) -> t.Any:
        """What was said of a failure."""
        return next(json.loads(it.data or "") for it in self.frames if it.event == "failure")

    def close(self) -> None:
        self._connection.close()
        if self._response is not None:
            self._response.close()

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, path: str, body: t.Any, headers: dict[str, str]) -> http.client.HTTPResponse:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        data = None if body is None else json.dumps(body).encode()
        self._connection.request("GET" if body is None else "POST", path, data, sent)
        response = self._connection.getresponse()
        self.status, self.headers = response.status, response.headers
        self.run = response.headers.get("AIStream-Run", "")
        pid = int(response.headers["X-Pid"])
        assert self.pid in (0, pid), "the connection was taken over by another worker"
        return response

    def _read(self) -> Iterator[Frame]:
        while data := self._response.read1():
            yield from self._decoder.feed(data)
