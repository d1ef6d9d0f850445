"""Ask clients to reconnect, so that another process can serve them."""

from __future__ import annotations

import random
from collections.abc import Callable

from flask_aistream.delivery.body import Delivery
from flask_aistream.delivery.registry import ConnectionRegistry
from flask_aistream.server.sockets import hang_up

SOONEST_MS, LATEST_MS = 100, 300
"""Reconnection time of a recalled client, drawn at random: not all reconnect in the same moment."""

SMALLEST_BATCH, BATCHES = 10, 100
"""Recall in batches of max(10, 1 %)."""


class Recall:
    """Recalls the open connections in batches, and every later one when it opens.

    :param random_ms: Picks a reconnection time between two bounds, in milliseconds.
    """

    def __init__(
        self,
        registry: ConnectionRegistry,
        random_ms: Callable[[int, int], int] = random.randint,
    ) -> None:
        self._registry = registry
        self._random_ms = random_ms
        self._started = False
        self._remaining: list[Delivery] = []
        self._batch = 0

    def recall(self, all_clients: bool = False) -> bool:
        """Recall the next batch. Does not block.

        :param all_clients: All that are left, in one batch.
        :returns: Whether connections are left to be recalled.
        """
        if not self._started:
            # Set before the snapshot: a connection that opens concurrently is in it, or sees this flag.
            self._started = True
            self._remaining = self._registry.deliveries()
            self._batch = max(SMALLEST_BATCH, len(self._remaining) // BATCHES)
        count = len(self._remaining) if all_clients else self._batch
        batch = self._remaining[:count]
        del self._remaining[:count]
        for delivery in batch:
            self._recall(delivery)
        return bool(self._remaining)

    def opened(self, delivery: Delivery) -> None:
        """A connection was added to the registry."""
        if self._started:
            self._recall(delivery)

    def _recall(self, delivery: Delivery) -> None:
        delivery.recall(self._random_ms(SOONEST_MS, LATEST_MS))


def close_recalled(delivery: Delivery, fd: int | None) -> None:
    """Keep a recalled client from reusing its connection, which leads to this process.

    The head of the response, which could have ``Connection: close``, is already sent.
    """
    if delivery.recalled and fd is not None:
        hang_up(fd)
