"""The server: reads requests, writes a dialect's frames, and sees at once when a client leaves."""

from __future__ import annotations

import contextlib
import json
import math
import re
import select
import socket
import threading
import time
import typing as t
from collections.abc import Iterator

from tests.upstream import anthropic
from tests.upstream import gemini
from tests.upstream import ollama
from tests.upstream import openai_chat
from tests.upstream import openai_responses
from tests.upstream.background import BackgroundServer
from tests.upstream.background import Handler
from tests.upstream.dialect import WireProtocol
from tests.upstream.exchange import Exchange
from tests.upstream.stories import Cut
from tests.upstream.stories import Fail
from tests.upstream.stories import Pause
from tests.upstream.stories import Story
from tests.upstream.stories import story_of

PROTOCOLS: dict[str, t.Any] = {
    r"/v1/chat/completions": openai_chat,
    r"/v1/responses": openai_responses,
    r"/v1/messages": anthropic,
    r"/v1(beta)?/models/[^:]+:(streamG|g)enerateContent": gemini,
    r"/api/(chat|generate)": ollama,
}
PRIVATE = {"authorization", "x-api-key", "x-goog-api-key", "api-key"}
GONE = select.POLLRDHUP | select.POLLHUP | select.POLLERR


class Upstream(BackgroundServer):
    """The vendor, on ``127.0.0.1``.

    :param port: 0 takes a free one.
    :param log: Gets one JSON line for each request and one for each end of a response.
    :ivar limit: Number of frames that a story with pauses may send for now.
    """

    def __init__(self, port: int = 0, log: t.TextIO | None = None) -> None:
        self.exchanges: list[Exchange] = []
        self.down = threading.Event()
        self.limit = math.inf
        self._log = log
        self._changed = threading.Condition()
        super().__init__(port)

    def handler(self) -> type[Handler]:
        return type("ModelHandler", (ModelHandler,), {"upstream": self})

    @contextlib.contextmanager
    def holding_back(self, after: int) -> Iterator[None]:
        """Within a ``with`` block, stories with pauses stop after about so many frames."""
        self.limit = after
        try:
            yield
        finally:
            self.limit = math.inf

    def wait_for(self, model: str, count: int = 1, timeout: float = 5.0) -> Exchange:
        """The ``count``-th request for ``model``, waiting until it has come.

        :raises TimeoutError: It did not come.
        """
        with self._changed:
            self._changed.wait_for(lambda: len(self._of(model)) >= count, timeout)
            if len(self._of(model)) < count:
                raise TimeoutError(f"No {count} requests for {model!r}: {self.exchanges}")
            return self._of(model)[count - 1]

    def wait_frames(self, exchange: Exchange, count: int, timeout: float = 5.0) -> bool:
        """Wait until ``count`` frames of ``exchange`` have been written."""
        with self._changed:
            return self._changed.wait_for(lambda: exchange.frames >= count, timeout)

    def close(self) -> None:
        """Cut what is still open, stop listening."""
        self.down.set()
        super().close()

    def begin(self, **facts: t.Any) -> Exchange:
        with self._changed:
            number = len(self.exchanges)
            exchange = Exchange(number=number, began=time.monotonic(), **facts)
            self.exchanges.append(exchange)
            self._tell("request", exchange)
            return exchange

    def wrote(self, exchange: Exchange) -> None:
        with self._changed:
            exchange.frames += 1
            self._changed.notify_all()

    def end(self, exchange: Exchange, outcome: str) -> None:
        with self._changed:
            exchange.end(outcome, time.monotonic())
            self._tell("end", exchange)

    def _of(self, model: str) -> list[Exchange]:
        return [exchange for exchange in self.exchanges if exchange.model == model]

    def _tell(self, fact: str, exchange: Exchange) -> None:
        self._changed.notify_all()
        if self._log:
            self._log.write(json.dumps({"fact": fact, **exchange.to_json()}) + "\n")
            self._log.flush()


class ModelHandler(Handler):
    upstream: Upstream

    def do_GET(self) -> None:
        if self.path == "/exchanges":
            self._json(200, [one.to_json() for one in self.upstream.exchanges])
        elif self.path.endswith("/models"):
            self._json(200, {"object": "list", "data": [{"id": "hello", "object": "model"}]})
        else:
            self._json(404, {"error": {"message": "Unknown path"}})

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        body = json.loads(text or "{}")
        dialect = protocol_of(self.path)
        if dialect is None:
            self._json(404, {"error": {"message": "Unknown path"}})
            return
        model = model_of(self.path, body)
        headers = {k.lower(): v for k, v in self.headers.items() if k.lower() not in PRIVATE}
        exchange = self.upstream.begin(
            method="POST", path=self.path, model=model, body=body, headers=headers
        )
        outcome = "gone"
        try:
            outcome = self._answer(dialect, story_of(model, text), exchange)
        except OSError:
            pass
        finally:
            self.upstream.end(exchange, outcome)
            self.close_connection = self.close_connection or outcome != "complete"

    def _answer(self, dialect: WireProtocol, story: Story, exchange: Exchange) -> str:
        if not story.headers:
            return self._silence(float("inf"))
        if story.status != 200:
            return self._json(story.status, dialect.error(story.status, "It broke on purpose"))
        if not streams(self.path, exchange.body):
            return self._whole(dialect, story, exchange)
        self.send_response(200)
        self.send_header("Content-Type", dialect.CONTENT_TYPE)
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for frame in dialect.frames(story, exchange.model, exchange.body):
            if isinstance(frame, Cut):
                return "cut"
            if isinstance(frame, Pause):
                outcome = self._pause(frame.seconds, exchange)
                if outcome != "complete":
                    return outcome
                continue
            self.wfile.write(b"%x\r\n%b\r\n" % (len(frame), frame))
            self.upstream.wrote(exchange)
        self.wfile.write(b"0\r\n\r\n")
        return "complete"

    def _whole(self, dialect: WireProtocol, story: Story, exchange: Exchange) -> str:
        for step in story.steps:
            if isinstance(step, Cut):
                return "cut"
            if isinstance(step, Fail):
                return self._json(503, dialect.error(503, step.message))
            if isinstance(step, Pause) and (ends := self._silence(step.seconds)) != "complete":
                return ends
        return self._json(200, dialect.whole(story, exchange.model, exchange.body))

    def _pause(self, seconds: float, exchange: Exchange) -> str:
        outcome = self._silence(seconds)
        while outcome == "complete" and exchange.frames >= self.upstream.limit:
            outcome = self._silence(0.01)
        return outcome

    def _silence(self, seconds: float) -> str:
        """Wait; ``gone`` as soon as the client leaves."""
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self.connection, GONE)
        while not self.upstream.down.is_set():
            left = deadline - time.monotonic()
            if left <= 0:
                return "complete"
            if poll.poll(min(left, 0.05) * 1000):
                return "gone"
        self.connection.shutdown(socket.SHUT_RDWR)
        return "down"

    def _json(self, status: int, value: t.Any) -> str:
        payload = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)
        return "complete"


def protocol_of(path: str) -> WireProtocol | None:
    plain = path.partition("?")[0]
    return next((it for rule, it in PROTOCOLS.items() if re.fullmatch(rule, plain)), None)


def model_of(path: str, body: dict[str, t.Any]) -> str:
    """From the body; Gemini has it in the path."""
    found = re.search(r"/models/([^:?]+):", path)
    return found[1] if found else str(body.get("model", "hello"))


def streams(path: str, body: dict[str, t.Any]) -> bool:
    """Gemini says it in the path, and Ollama streams unless told not to."""
    if "/models/" in path:
        return "streamGenerateContent" in path
    return bool(body.get("stream", path.startswith("/api/")))
