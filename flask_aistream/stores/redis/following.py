"""Which runs of other processes this one follows."""

from __future__ import annotations

import contextlib
import typing as t
from collections.abc import Callable
from collections.abc import Collection

from flask_aistream.stores.redis.server import FAULTS
from flask_aistream.stores.redis.server import Server
from flask_aistream.stores.redis.subscriber import Subscriber
from flask_aistream.stores.shared.engine import Listener
from flask_aistream.timing.concurrency import Spawner


class RedisFollowing:
    """
    :param name: Of this process.
    :param connect: Makes the client that subscribes.
    """

    rest = None

    def __init__(
        self, server: Server, name: str, process: Spawner, connect: Callable[[], t.Any]
    ) -> None:
        self._server = server
        self._keys = server.keys
        self._name = name
        self._process = process
        self._connect = connect
        self._followed: set[str] = set()
        self._subscriber: Subscriber | None = None

    def open(self, listener: Listener) -> None:
        if self._subscriber is None:
            news = self._keys.news(self._name)
            self._subscriber = Subscriber(self._connect(), news, listener, FAULTS)
            self._process.spawn(self._subscriber.listen)

    def close(self) -> None:
        if self._subscriber is not None:
            self._subscriber.close()
            with contextlib.suppress(*FAULTS):
                self._wake(self._subscriber)

    def follow(self, run_ids: Collection[str]) -> None:
        assert self._subscriber is not None
        wanted = set(run_ids)
        # Once the server has confirmed it, the subscriber reports the run to its listener as stale.
        for run_id in wanted - self._followed:
            self._subscriber.follow(self._keys.log(run_id), run_id)
        for run_id in self._followed - wanted:
            self._subscriber.unfollow(self._keys.log(run_id))
        self._followed = wanted
        self._wake(self._subscriber)

    def followed(self, run_id: str) -> bool:
        return any(count for _, count in self._server.redis.pubsub_numsub(self._keys.log(run_id)))

    def poll(self) -> None:
        """Pub/sub brings the news."""

    def _wake(self, subscriber: Subscriber) -> None:
        self._server.redis.publish(subscriber.own, b"")
