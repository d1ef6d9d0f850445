"""A server that does what a test says, byte by byte.

Each path has a queue of *plays*, one for each request to come. A play is a list of steps: bytes are
sent as one chunk, a ``Gate`` holds the response until the test opens it, an ``Ending`` says how the
connection ends. A play may also be a function of the request that returns such a list.
"""

from __future__ import annotations

import enum
import json
import socket
import threading
import typing as t
from collections import defaultdict
from collections import deque
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from urllib.parse import parse_qs
from urllib.parse import urlsplit

import flask_aistream
from flask_aistream.core.cursor import Cursor
from flask_aistream.core.events import Event
from flask_aistream.core.events import RunStarted
from flask_aistream.protocols.base import EncoderContext
from flask_aistream.protocols.native import NativeEncoder
from tests.network import Listener
from tests.network import reset_on_close

DEADLINE = 15.0
"""Seconds after which anything that is waited for counts as never to come."""

STATIC = Path(flask_aistream.__file__).parent / "static"
HERE = Path(__file__).parent
FILES = {
    "/page": (HERE / "page.html", "text/html; charset=utf-8"),
    "/page.js": (HERE / "page.js", "text/javascript"),
    **{
        f"/ai/static/{file.relative_to(STATIC).as_posix()}": (file, "text/javascript")
        for file in STATIC.rglob("*.js")
    },
}
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
}
CORS = (
    "Access-Control-Allow-Origin: *\r\n"
    "Access-Control-Allow-Headers: content-type, last-event-id, idempotency-key, authorization\r\n"
    "Access-Control-Expose-Headers: Retry-After\r\n"
)
# The client must work on a page that forbids everything but its own scripts.
POLICY = "Content-Security-Policy: default-src 'none'; script-src 'self'; connect-src *\r\n"


class Ending(enum.Enum):
    """How a response ends."""

    LAST_CHUNK = "a complete body"
    CUT = "closed without the last chunk"
    RESET = "an RST"
    HOLD = "open until the client leaves"


class Gate:
    """Holds a response until it is opened. ``reached`` is set when the response stands there.

    ``then`` makes a play that opens the gate by being asked for.
    """

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._open = threading.Event()

    def open(self) -> None:
        self._open.set()

    def then(self, play: Sequence[Step]) -> Callable[[Request], Sequence[Step]]:
        def opening(_: Request) -> Sequence[Step]:
            self.open()
            return play

        return opening

    def wait(self) -> None:
        self.reached.set()
        if not self._open.wait(DEADLINE):
            raise TimeoutError("The test never opened this gate.")


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes sent as they are: a whole HTTP response, or a head."""

    data: bytes


Step = bytes | Raw | Gate | Ending


@dataclass(slots=True)
class Request:
    """One request as it came. Names of headers are in lower case.

    :ivar left: Set when the client closed the connection of a response that was held open.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    left: threading.Event = field(default_factory=threading.Event)

    @property
    def json(self) -> t.Any:
        return json.loads(self.body)

    @property
    def last_event_id(self) -> str | None:
        return self.headers.get("last-event-id")

    @property
    def key(self) -> str | None:
        return self.headers.get("idempotency-key")


Play = Sequence[Step] | Callable[[Request], Sequence[Step]]

REFUSED: Play = [Ending.RESET]
"""The connection is reset before a byte of the response."""

HEAD = Raw(
    f"HTTP/1.1 200 OK\r\n{CORS}Content-Type: text/event-stream; charset=utf-8\r\n"
    "Cache-Control: no-store\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode()
)


def answer(
    status: int, body: object = None, *, content_type: str = "application/json", **headers: str
) -> list[Step]:
    """A play: one whole response. A body that is not bytes is sent as JSON."""
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    length = (
        "" if status == 204 else f"Content-Type: {content_type}\r\nContent-Length: {len(data)}\r\n"
    )
    head = f"HTTP/1.1 {status} Scripted\r\n{CORS}{more}{length}Connection: close\r\n\r\n"
    return [Raw(head.encode() + data)]


class Log:
    """The log of one run, in the project's own words."""

    def __init__(self, *events: Event, run: str = "r1", base: str = "/ai") -> None:
        self.events: list[Event] = [RunStarted(run, "chat"), *events]
        links = {"events": f"{base}/runs/{run}/events", "stop": f"{base}/runs/{run}/stop"}
        self.events_path = links["events"]
        self.stop_path = links["stop"]
        self._encoder = NativeEncoder(EncoderContext(run, "chat", links=links))

    def frames(self, first: int = 0, stop: int | None = None) -> bytes:
        """The frames of records ``first`` to ``stop - 1``."""
        return self._encoder.encode(first, self.events[first:stop])

    def gap(self, first: int) -> bytes:
        return self._encoder.gap(first)

    def after(self, request: Request) -> bytes:
        """What a cursor still has to read."""
        cursor = request.last_event_id
        return self.frames(Cursor.parse(cursor).number + 1 if cursor else 0)


class ScriptedServer:
    """Listens on a free port of 127.0.0.1 until ``close``.

    :ivar requests: Every request but those for the page's own files, in order.
    :ivar unexpected: Requests that no play was left for.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.unexpected: list[str] = []
        self._plays: dict[str, deque[Play]] = defaultdict(deque)
        self._always: dict[str, Play] = {}
        self._files = dict(FILES)
        self._changed = threading.Condition()
        self._listener = Listener(self._serve)
        self.port = self._listener.port

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def play(self, path: str, *plays: Play) -> None:
        """Queue what the next requests to ``path`` get."""
        self._plays[path].extend(plays)

    def serve(self, prefix: str, folder: Path, pattern: str = "**/*") -> None:
        """Serve the files of a folder, such as an application that was built."""
        for file in filter(Path.is_file, folder.glob(pattern)):
            path = prefix + file.relative_to(folder).as_posix()
            self._files[path] = (file, TYPES[file.suffix])

    def always(self, prefix: str, play: Play) -> None:
        """What every request below ``prefix`` gets, if nothing is queued for its path."""
        self._always[prefix] = play

    def wait_for(self, number: int, path: str | None = None) -> Request:
        """The request with this number (from 1), of those to ``path``, once it has come."""
        with self._changed:
            came = self._changed.wait_for(lambda: len(self.asked(path)) >= number, DEADLINE)
        assert came, f"Request {number} to {path or 'anything'} never came: {self.requests}"
        return self.asked(path)[number - 1]

    def asked(self, path: str | None = None) -> list[Request]:
        return [request for request in self.requests if path in (None, request.path)]

    def close(self) -> None:
        self._listener.close()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(DEADLINE)
        with connection:
            try:
                request = read_request(connection)
                if request is not None:
                    perform(connection, request, self._choose(request))
            except OSError:  # The client went away, which many tests are about.
                pass

    def _choose(self, request: Request) -> Sequence[Step]:
        if request.path in self._files:
            file, kind = self._files[request.path]
            return served(file.read_bytes(), kind)
        if request.method == "OPTIONS" or request.path == "/favicon.ico":
            return answer(204)
        with self._changed:
            self.requests.append(request)
            play = self._next(request)
            self._changed.notify_all()
        return play(request) if callable(play) else play

    def _next(self, request: Request) -> Play:
        if self._plays[request.path]:
            return self._plays[request.path].popleft()
        for prefix, play in self._always.items():
            if request.path.startswith(prefix):
                return play
        self.unexpected.append(f"{request.method} {request.path}")
        return answer(410, {"error": {"code": "unexpected", "message": "No play was left."}})


def served(data: bytes, kind: str) -> list[Step]:
    head = (
        f"HTTP/1.1 200 OK\r\n{CORS}{POLICY}Content-Type: {kind}\r\nContent-Length: {len(data)}\r\n"
    )
    return [Raw(f"{head}Connection: close\r\n\r\n".encode() + data)]


def read_request(connection: socket.socket) -> Request | None:
    """``None`` where the browser opened a connection and asked nothing."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65536)
    parts = urlsplit(target)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    return Request(method, parts.path, query, headers, body)


def perform(connection: socket.socket, request: Request, play: Sequence[Step]) -> None:
    chunked = any(step is HEAD for step in play)
    for step in play:
        match step:
            case Gate():
                step.wait()
            case Raw():
                connection.sendall(step.data)
            case bytes():
                connection.sendall(b"%x\r\n%b\r\n" % (len(step), step) if step else b"")
            case Ending():
                return end(connection, request, step)
    if chunked:
        end(connection, request, Ending.LAST_CHUNK)


def end(connection: socket.socket, request: Request, how: Ending) -> None:
    match how:
        case Ending.LAST_CHUNK:
            connection.sendall(b"0\r\n\r\n")
        case Ending.RESET:
            reset_on_close(connection)
        case Ending.HOLD:
            try:
                while connection.recv(1024):
                    pass
            except ConnectionError:
                pass
            request.left.set()
