"""Cut off clients that stop reading.

``TCP_USER_TIMEOUT`` does this for TCP (see ``server/sockets.py``); the watchdog also covers unix sockets, and
cuts before the kernel does, whose error gunicorn would report with a traceback.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from flask_aistream.delivery.body import Delivery
from flask_aistream.delivery.registry import ConnectionRegistry
from flask_aistream.server.sockets import cut

logger = logging.getLogger("flask_aistream")

CHECKS = 4
"""Checks of one write before it has taken too long."""

LONGEST_INTERVAL = 5.0
"""Most seconds between two checks."""


class WriteWatchdog:
    """Shuts down the socket of a write that takes too long.

    A write is not stamped when it begins, which would cost the hot path: two checks see the same write if
    they see the same ``bytes`` object.

    :param patience: Seconds that a client may take for one write; ``None`` for any time.
    """

    def __init__(
        self,
        registry: ConnectionRegistry,
        *,
        patience: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._patience = patience
        self._clock = clock
        self._pending: dict[Delivery, tuple[bytes, float]] = {}

    @property
    def interval(self) -> float | None:
        """Seconds between two calls of :meth:`check`; ``None``: none are needed."""
        return None if self._patience is None else min(self._patience / CHECKS, LONGEST_INTERVAL)

    def check(self) -> None:
        """Cut off each connection whose write has exceeded the patience. Does not block."""
        if self._patience is None:
            return
        now = self._clock()
        pending: dict[Delivery, tuple[bytes, float]] = {}
        # Under the lock: a delivery leaves the registry before its descriptor is closed and reused.
        with self._registry.lock:
            for delivery, fd in self._registry.items_locked():
                data = delivery.writing
                if data is None or fd is None:
                    continue
                seen, since = self._pending.get(delivery, (data, now))
                if seen is not data:
                    since = now
                if now - since < self._patience:
                    pending[delivery] = (data, since)
                else:
                    cut(fd)
                    logger.info("Cut off a client that read nothing for %.1f s", now - since)
            self._pending = pending
