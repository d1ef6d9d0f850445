"""An HTTP server on a thread of the test process."""

from __future__ import annotations

import sys
import threading
import typing as t
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer
from types import TracebackType

T = t.TypeVar("T", bound="BackgroundServer")

POLL_SECONDS = 0.01
"""How often the thread checks whether to stop; a request is served at once."""


class BackgroundServer:
    """Serves ``127.0.0.1`` from its creation until ``close``, or the end of a ``with`` block.

    :param port: 0 takes a free one.
    """

    def __init__(self, port: int = 0) -> None:
        self._server = Server(("127.0.0.1", port), self.handler())
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL_SECONDS,), daemon=True
        )
        self._thread.start()

    def handler(self) -> type[Handler]:
        """The class that answers requests."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``, without a slash at the end."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self: T) -> T:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: t.Any, client_address: t.Any) -> None:
        """Print a traceback, unless a client has disconnected between two requests."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: t.Any) -> None:
        pass
