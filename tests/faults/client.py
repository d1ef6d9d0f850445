"""Strict readers, many in one thread: each takes its run through whatever happens to its connection, and
counts what a user would have missed, seen twice or seen in the wrong place."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import threading
import time
import typing as t
from collections.abc import AsyncIterator
from collections.abc import Callable
from collections.abc import Coroutine
from collections.abc import Sequence
from json.encoder import encode_basestring_ascii as quoted

from tests.faults.said import token

SILENCE_SECONDS = 3.0
"""A connection that says nothing for so long, not even a heartbeat, is given up."""

LINE_END = b"\r\n"
R = t.TypeVar("R")


class Broken(Exception):
    """The connection did not end as HTTP does."""


class Net:
    """The thread in which all connections live."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[t.Any, t.Any, R]) -> R:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def close(self) -> None:
        self.call(cancel_all())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


async def cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Reader:
    """One client. It starts a run and reads it to its end.

    :param address: Port of 127.0.0.1 to connect to; asked anew each time.
    :param body: What is asked.
    :param run: Read this run instead of starting one.
    :ivar missing: Numbers of records passed over so far.
    :ivar reason: Of the terminal event; ``None``: none has come.
    :ivar gap: Longest time between two tokens, in seconds.
    """

    def __init__(
        self, address: Callable[[], int], provider: str, body: dict[str, t.Any], run: str = ""
    ) -> None:
        self.run = run
        self.next = 0
        self.tokens = 0
        self.missing: set[int] = set()
        self.duplicated = 0
        self.disordered = 0
        self.reason: str | None = None
        self.code = ""
        self.over = False
        self.why = ""
        self.gap = 0.0
        self.connections = 0
        self.refusals = 0
        self.provider = provider
        self._address = address
        self.body = body
        self._retry = 0.1
        self._heard_at: float | None = None
        self._rest = b""

    @property
    def lost(self) -> int:
        return len(self.missing)

    @property
    def n(self) -> int | None:
        """Tokens that were asked for, where it has started the run."""
        return self.body.get("n")

    async def read(self) -> None:
        while not self.over:
            try:
                await self._connect()
            except (OSError, EOFError, Broken, asyncio.TimeoutError) as error:
                self.why = repr(error)
            if not self.over:
                await asyncio.sleep(self._retry)

    async def _connect(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._address())
        self.connections += 1
        self._rest = b""
        try:
            writer.write(self._request())
            status, headers = await within(read_head(reader))
            self.run = self.run or headers.get("aistream-run", "")
            body = read_body(reader, headers)
            if status == 200:
                async for data in body:
                    self._feed(data)
            else:
                self._refused(status, b"".join([data async for data in body]))
        finally:
            writer.close()

    def _request(self) -> bytes:
        if self.run:
            cursor = f"Last-Event-ID: {self.run}:{self.next - 1}\r\n" if self.next else ""
            head, body = f"GET /ai/runs/{self.run}/events HTTP/1.1\r\n{cursor}", b""
        else:
            body = json.dumps(self.body).encode()
            head = (
                f"POST /ai/{self.provider} HTTP/1.1\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n"
            )
        return f"{head}Host: 127.0.0.1\r\nConnection: close\r\n\r\n".encode() + body

    def _refused(self, status: int, body: bytes) -> None:
        self.why = f"{status} {body[:300].decode(errors='replace')}"
        self.refusals += 1
        if status == 500 and b"provider_error" in body and not self.run:
            self._end("error")  # Failed before it said anything: that is told in HTTP.
        elif status < 500 and status != 429:
            self.over = True

    def _feed(self, data: bytes) -> None:
        now = time.monotonic()
        before = self.tokens
        *frames, self._rest = (self._rest + data).split(b"\n\n")
        for frame in frames:
            text = quoted(token(self.next - 1)) if self.next else ""
            if frame == f'id: {self.run}:{self.next}\ndata: {{"text":{text}}}'.encode():
                self.next += 1
                self.tokens += 1
            else:
                self._take(frame)
        if self.tokens > before:
            if self._heard_at is not None:
                self.gap = max(self.gap, now - self._heard_at)
            self._heard_at = now

    def _take(self, frame: bytes) -> None:
        """What is not simply the next token."""
        fields: dict[str, str] = {}
        for line in frame.decode("ascii").split("\n"):
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        if "retry" in fields:
            self._retry = int(fields["retry"]) / 1000
        data = json.loads(fields["data"]) if "data" in fields else {}
        if fields.get("event") == "failure":
            self.code = data["code"]
        elif fields.get("event") == "gap":
            self._pass_to(data["first"])
        elif "id" in fields:
            run, _, number = fields["id"].rpartition(":")
            assert run == self.run, f"{self.run} was answered by {run}"
            self._record(int(number), data)

    def _record(self, number: int, data: dict[str, t.Any]) -> None:
        if number in self.missing:
            self.missing.discard(number)
            self.disordered += 1
        elif number < self.next:
            self.duplicated += 1
            return
        else:
            self._pass_to(number)
            self.next = number + 1
        if "text" in data:
            self.tokens += 1
            # The right number with the wrong text: the log itself is out of order.
            self.disordered += data["text"] != token(number - 1)
        elif "action" in data:
            self._end(data["reason"])

    def _pass_to(self, number: int) -> None:
        self.missing.update(range(self.next, number))
        self.next = max(self.next, number)

    def _end(self, reason: str) -> None:
        self.reason = reason
        self.over = True


async def within(work: t.Awaitable[R]) -> R:
    return await asyncio.wait_for(work, SILENCE_SECONDS)


async def read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    lines = (await reader.readuntil(2 * LINE_END)).decode("latin-1").split("\r\n")
    status = int(lines[0].split(" ")[1])
    pairs = (line.partition(":") for line in lines[1:] if line)
    return status, {name.lower(): value.strip() for name, _, value in pairs}


async def read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> AsyncIterator[bytes]:
    """
    :raises Broken: It ended before its end.
    """
    if headers.get("transfer-encoding") == "chunked":
        while True:
            line = await within(reader.readline())
            if not line.endswith(LINE_END):
                raise Broken("no end of the body")
            size = int(line, 16)
            try:
                data = await within(reader.readexactly(size + 2))
            except asyncio.IncompleteReadError as error:
                yield error.partial
                raise
            if not size:
                return
            yield data[:-2]
    elif "content-length" in headers:
        yield await within(reader.readexactly(int(headers["content-length"])))
    else:
        while data := await within(reader.read(1 << 16)):
            yield data


class Crowd:
    """Readers of one network."""

    KEYS = itertools.count()

    def __init__(self, net: Net, address: Callable[[], int]) -> None:
        self._net = net
        self._address = address
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, count: int, provider: str, **params: t.Any) -> list[Reader]:
        """Start so many runs, each once, however often it has to be asked for."""
        bodies = [{"prompt": "?", "request_id": self._key(), **params} for _ in range(count)]
        return self._begin([Reader(self._address, provider, body) for body in bodies])

    def follow(self, runs: Sequence[str]) -> list[Reader]:
        """Read runs that somebody else has started."""
        return self._begin([Reader(self._address, "", {}, run) for run in runs])

    def _key(self) -> str:
        return f"reader-{os.getpid():08}-{next(self.KEYS)}"

    def _begin(self, readers: list[Reader]) -> list[Reader]:
        async def begin() -> None:
            for reader in readers:
                self._tasks.append(asyncio.ensure_future(reader.read()))
                # A worker takes all that come at one moment; this way every worker gets some.
                await asyncio.sleep(0.01)

        self._net.call(begin())
        return readers

    def refresh(self) -> None:
        """Readers are always up to date."""

    def leave(self) -> None:
        self._net.call(self._leave())

    async def _leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        # An error of a reader itself is told here.
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
        self._tasks.clear()
