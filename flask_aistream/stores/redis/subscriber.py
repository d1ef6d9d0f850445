"""How news of other processes' runs come in from Redis: pub/sub, on one connection."""

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
    """The one connection of a process on which everything arrives.

    The client's pub/sub object is no good in two threads: what others want of it waits in a queue,
    and a message to our own channel makes the listener look there.

    :param own: Channel on which others say which of our runs they have ended.
    """

    def __init__(
        self, client: t.Any, own: str, listener: Listener, faults: tuple[type[Exception], ...]
    ) -> None:
        self.own = own
        self._client = client
        self._pubsub = client.pubsub(ignore_subscribe_messages=False)
        self._listener = listener
        self._faults = faults
        self._wanted: deque[tuple[str, str | None]] = deque()
        self._runs: dict[str, str] = {}
        self._asked = False
        self._closed = False

    def follow(self, channel: str, run_id: str) -> None:
        self._wanted.append((channel, run_id))

    def unfollow(self, channel: str) -> None:
        self._wanted.append((channel, None))

    def close(self) -> None:
        self._closed = True

    def listen(self) -> None:
        self._wanted.append((self.own, ""))
        while not self._closed:
            try:
                while self._wanted:
                    self._want(*self._wanted[0])
                    self._wanted.popleft()
                message = self._pubsub.get_message(timeout=LISTEN_SECONDS)
                self._ask_in_silence(message)
            except self._faults:
                # It subscribes to everything again as soon as it is connected again.
                time.sleep(RECONNECT_SECONDS)
                continue
            if message is not None and message["channel"] and not self._closed:
                self._heard(message["type"], message["channel"].decode(), message["data"])
        with contextlib.suppress(*self._faults):
            self._pubsub.close()
            self._client.close()

    def _ask_in_silence(self, message: t.Any) -> None:
        """A network that has dropped the connection without a word would leave us waiting for ever."""
        if message is None and self._asked:
            self._pubsub.connection.disconnect()  # It makes another one with the next call.
        elif message is None:
            self._pubsub.ping()
        self._asked = message is None and not self._asked

    def _want(self, channel: str, run_id: str | None) -> None:
        if run_id is not None:
            self._runs[channel] = run_id
            self._pubsub.subscribe(channel)
        elif self._runs.pop(channel, None) is not None:
            self._pubsub.unsubscribe(channel)

    def _heard(self, kind: str, channel: str, data: t.Any) -> None:
        run_id = self._runs.get(channel)
        if run_id is None:
            return
        if kind == "subscribe":
            # Also after a reconnection: what was said meanwhile is in the stream.
            self._listener.stale(run_id or None)
        elif kind == "message" and channel == self.own:
            if data:
                self._listener.stale(data.decode())
        elif kind == "message":
            first, _, events = data.partition(b" ")
            self._listener.arrived(run_id, [Segment(int(first), decode(events))])
