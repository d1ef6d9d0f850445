"""A server that answers with given bytes, in given parts: what no vendor would document."""

from __future__ import annotations

import json
import threading
import typing as t
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer
from types import TracebackType


class Script(t.NamedTuple):
    """
    :param parts: Of the body, each one HTTP chunk; a callable is called instead (to wait, or to cut).
    :param length: Send ``Content-Length`` instead of chunks.
    """

    parts: t.Sequence[bytes | t.Callable[[], object]]
    content_type: str = "text/event-stream"
    status: int = 200
    headers: t.Mapping[str, str] = {}
    length: bool = False


class Scripted:
    """A server on a free port. Every request is answered with the next script, the last one again.

    :ivar requests: Bodies of the requests so far.
    :ivar gone: Set when a client has closed its connection before the end of an answer.
    """

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.requests: list[t.Any] = []
        self.connections: set[t.Any] = set()
        self.gone = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Scripted:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, format: str, *args: t.Any) -> None:
                pass

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                scripted.requests.append(json.loads(self.rfile.read(length) or b"null"))
                scripted.connections.add(self.client_address)
                more = len(scripted.scripts) > 1
                script = scripted.scripts.pop(0) if more else scripted.scripts[0]
                try:
                    self.answer(script)
                except OSError:
                    scripted.gone.set()
                    self.close_connection = True

            do_GET = do_POST

            def answer(self, script: Script) -> None:
                self.send_response(script.status)
                self.send_header("Content-Type", script.content_type)
                for name, value in script.headers.items():
                    self.send_header(name, value)
                if script.length:
                    body = b"".join(part for part in script.parts if isinstance(part, bytes))
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                    return
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for part in script.parts:
                    if isinstance(part, bytes):
                        self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
                    else:
                        part()
                self.wfile.write(b"0\r\n\r\n")

        return Handler


def event_stream(chunks: t.Iterable[t.Any], done: bool, *, named: bool = False) -> list[bytes]:
    """Chunks as a vendor's server sends them.

    :param named: With the ``event`` field of Anthropic and of Responses.
    """
    parts = []
    for chunk in chunks:
        name = f"event: {chunk['type']}\n" if named and isinstance(chunk, dict) else ""
        parts.append(f"{name}data: {json.dumps(chunk)}\n\n".encode())
    return [*parts, b"data: [DONE]\n\n"] if done else parts
