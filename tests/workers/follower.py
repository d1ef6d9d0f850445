"""A plain EventSource: reconnects with the last id after the reconnection time, until the run ends."""

from __future__ import annotations

import http.client
import json
import threading
import time
import typing as t
from collections.abc import Iterator
from urllib.parse import urlsplit

from flask_aistream.sse.decode import Decoder
from flask_aistream.sse.frame import Frame
from tests.server.servers import DEADLINE
from tests.server.wire import text_of


class Follower(threading.Thread):
    """Follows one run on whichever connections it takes.

    :ivar run_id: Of the run it follows.
    :ivar text: All text so far.
    :ivar pids: The process behind each response.
    :ivar gap: Longest time between two events, in seconds.
    :ivar moved: It has been told something on a second connection.
    :ivar reason: How the run ended.
    :ivar fault: What was wrong with what it was told.
    """

    def __init__(self, url: str, path: str) -> None:
        super().__init__(daemon=True)
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=DEADLINE)
        self._path = path
        self._retry = 1.0
        self._number = -1
        self._at = 0.0
        self.id = ""
        self.run_id = ""
        self.text = ""
        self.pids: list[int] = []
        self.gap = 0.0
        self.moved = False
        self.reason: str | None = None
        self.fault: BaseException | None = None
        self._told = threading.Condition()
        self.start()

    def run(self) -> None:
        deadline = time.monotonic() + 4 * DEADLINE
        try:
            while self.reason is None:
                assert time.monotonic() < deadline, f"no end after {self.text[-50:]!r}"
                try:
                    for frame in self._connect():
                        self._take(frame)
                except (OSError, http.client.HTTPException):
                    self._connection.close()
                if self.reason is None:
                    time.sleep(self._retry)
        except BaseException as error:
            self.fault = error
        finally:
            self._connection.close()

    def until(self, text: str) -> None:
        """Return once the text so far ends with, or has passed, ``text``."""
        with self._told:
            assert self._told.wait_for(lambda: text in self.text, DEADLINE), self.fault or self.text

    def finish(self) -> Follower:
        """Wait for the end."""
        self.join(4 * DEADLINE)
        assert self.fault is None, self.fault
        return self

    def _connect(self) -> Iterator[Frame]:
        decoder = Decoder()
        try:
            response = self._ask()
        except (ConnectionError, http.client.RemoteDisconnected):
            # A connection that was kept and has been closed meanwhile: browsers try again at once.
            self._connection.close()
            response = self._ask()
        assert response.status == 200, (response.status, response.read())
        self.pids.append(int(response.headers["X-Pid"]))
        while data := response.read1():
            yield from decoder.feed(data)
            if decoder.retry is not None:
                self._retry = decoder.retry / 1000

    def _ask(self) -> http.client.HTTPResponse:
        headers = {"Last-Event-ID": self.id} if self.id else {}
        self._connection.request("GET", self._path, headers=headers)
        return self._connection.getresponse()

    def _take(self, frame: Frame) -> None:
        assert frame.id is not None, frame
        number = int(frame.id.rpartition(":")[2])
        assert number == self._number + 1, f"{frame.id} after {self._number}"
        now = time.monotonic()
        self.gap = max(self.gap, now - (self._at or now))
        self._at, self._number, self.id = now, number, frame.id
        self.moved = len(self.pids) > 1
        self.run_id = frame.id.rpartition(":")[0]
        value: t.Any = json.loads(frame.data or "{}")
        with self._told:
            self.text += text_of(frame)
            if value.get("action") == "terminate":
                self.reason = value["reason"]
            self._told.notify_all()
