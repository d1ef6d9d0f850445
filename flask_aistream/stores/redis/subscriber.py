"""Records of other processes' runs, received through pub/sub on one connection."""

from __future__ import annotations

import contextlib
import time
import typing as t
from collections import deque

from flask_aistream.stores.codec import decode
from flask_aistream.stores.shared.engine import Listener
from flask_aistream.stores.shared.engine import Segment

RECONNECT_SECONDS = 0.2
LISTEN_SECONDS = 5.0


class Subscriber:
    """The one pub/sub connection of a process.

    The client's pub/sub object must not be used by two threads: subscriptions wait in a queue, and a message
    to the process's own channel wakes the thread that listens.

    :param own: Channel on which other processes publish which runs of this one they have ended or adopted.
    """

    def __init__(
        self, client: t.Any, own: str, listener: Listener, faults: tuple[type[Exception], ...]
    ) -> None:
        self.own = own
        self._client = client
        self._pubsub = client.pubsub(ignore_subscribe_messages=False)
        self._listener = listener
        self._faults = faults
        self._requests: deque[tuple[str, str | None]] = deque()
        self._runs: dict[str, str] = {}
        self._pinged = False
        self._closed = False

    def follow(self, channel: str, run_id: str) -> None:
        self._requests.append((channel, run_id))

    def unfollow(self, channel: str) -> None:
        self._requests.append((channel, None))

    def close(self) -> None:
        self._closed = True

    def listen(self) -> None:
        self._requests.append((self.own, ""))
        while not self._closed:
            try:
                while self._requests:
                    self._subscribe(*self._requests[0])
                    self._requests.popleft()
                message = self._pubsub.get_message(timeout=LISTEN_SECONDS)
                self._ping_in_silence(message)
            except self._faults:
                # It subscribes to everything again as soon as it is connected again.
                time.sleep(RECONNECT_SECONDS)
                continue
            if message is not None and message["channel"] and not self._closed:
                self._receive(message["type"], message["channel"].decode(), message["data"])
        with contextlib.suppress(*self._faults):
            self._pubsub.close()
            self._client.close()

    def _ping_in_silence(self, message: t.Any) -> None:
        """A network that has dropped the connection without a word would leave us waiting for ever."""
        if message is None and self._pinged:
            self._pubsub.connection.disconnect()  # It makes another one with the next call.
        elif message is None:
            self._pubsub.ping()
        self._pinged = message is None and not self._pinged

    def _subscribe(self, channel: str, run_id: str | None) -> None:
        if run_id is not None:
            self._runs[channel] = run_id
            self._pubsub.subscribe(channel)
        elif self._runs.pop(channel, None) is not None:
            self._pubsub.unsubscribe(channel)

    def _receive(self, kind: str, channel: str, data: t.Any) -> None:
        run_id = self._runs.get(channel)
        if run_id is None:
            return
        if kind == "subscribe":
            # Also after a reconnection: messages published meanwhile are in the stream.
            self._listener.stale(run_id or None)
        elif kind == "message" and channel == self.own:
            if data:
                self._listener.stale(data.decode())
        elif kind == "message":
            first, _, events = data.partition(b" ")
            try:
                self._listener.arrived(run_id, [Segment(int(first), decode(events))])
            except (ValueError, LookupError, TypeError):  # Not published by this package.
                self._listener.stale(run_id)
