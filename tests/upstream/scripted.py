"""A server that answers with given bytes, in given parts: what no vendor would document."""

from __future__ import annotations

import json
import threading
import typing as t

from tests.upstream.background import BackgroundServer
from tests.upstream.background import Handler


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


class Scripted(BackgroundServer):
    """Answers each request with the next script, and every further one with the last.

    :ivar requests: Bodies of the requests so far.
    :ivar gone: Set when a client has closed its connection before the end of an answer.
    """

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.requests: list[t.Any] = []
        self.connections: set[t.Any] = set()
        self.gone = threading.Event()
        super().__init__()

    def handler(self) -> type[Handler]:
        scripted = self

        class ScriptHandler(Handler):
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

        return ScriptHandler


def event_stream(chunks: t.Iterable[t.Any], done: bool, *, named: bool = False) -> list[bytes]:
    """Chunks as a vendor's server sends them.

    :param named: With the ``event`` field of Anthropic and of Responses.
    """
    parts = []
    for chunk in chunks:
        name = f"event: {chunk['type']}\n" if named and isinstance(chunk, dict) else ""
        parts.append(f"{name}data: {json.dumps(chunk)}\n\n".encode())
    return [*parts, b"data: [DONE]\n\n"] if done else parts
