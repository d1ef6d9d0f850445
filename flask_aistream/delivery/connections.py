"""The open connections of this process: counted, cut off when they stop reading, told to come back when it leaves."""

from __future__ import annotations

import logging
import random
import time
import typing as t
from collections.abc import Callable
from contextlib import AbstractContextManager

from flask_aistream.errors import TooManyConnections
from flask_aistream.errors import Unavailable
from flask_aistream.server.sockets import cut
from flask_aistream.server.sockets import hang_up

logger = logging.getLogger("flask_aistream")

# Milliseconds until those who were told come back. Not all in one moment, though they are not told in one.
SOONEST, LATEST = 100, 300

RECALLED_AT_LEAST, STEPS = 10, 100
"""Who is recalled goes on until then, so it may take its time: this many at once, or a hundredth."""

LOOKS = 4
"""Times that the watchdog looks at a write before it has lasted too long."""

LONGEST_REST = 5.0
"""Most seconds between two looks."""


class Body(t.Protocol):
    """What of a delivery is needed here."""

    writing: bytes | None
    """What the server has been given and not yet written; ``None`` for nothing."""

    parted: bool
    """The last thing the client was told is to come back."""

    def recall(self, milliseconds: int) -> None:
        """Tell the client to come back after so long, and end; if it can come back. Must not block."""
        ...


class Connections:
    """All responses that are being streamed now.

    :param lock: For a few steps that do not block.
    :param patience: Seconds that a client may take for one write; ``None``: as long as it likes.
    :param most: At once; ``None`` for any number.
    :param most_per_owner: Of one owner at once; ``None`` for any number. Nobody in particular has any.
    """

    def __init__(
        self,
        lock: AbstractContextManager[object],
        *,
        patience: float | None,
        most: int | None = None,
        most_per_owner: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        random_ms: Callable[[int, int], int] = random.randint,
    ) -> None:
        self._lock = lock
        self._patience = patience
        self._most = most
        self._most_per_owner = most_per_owner
        self._clock = clock
        self._random_ms = random_ms
        self._open: dict[Body, int | None] = {}
        self._owned: dict[str, int] = {}
        self._slow: dict[Body, tuple[bytes, float]] = {}
        self._recalled = False
        self._staying: list[Body] = []
        self._step = 0

    @property
    def count(self) -> int:
        return len(self._open)

    @property
    def rest(self) -> float | None:
        """Seconds until the next :meth:`sweep`; ``None``: none is needed."""
        return None if self._patience is None else min(self._patience / LOOKS, LONGEST_REST)

    def check(self, owner: str | None) -> None:
        """Whether there is room for one more.

        :raises Unavailable: There is none. Where threads ask at the same moment, each may be told that there is.
        """
        if self._most is not None and len(self._open) >= self._most:
            raise Unavailable(
                "The server has as many streams open as it can. Try again in a moment."
            )
        most = self._most_per_owner
        if most is not None and owner is not None and self._owned.get(owner, 0) >= most:
            raise TooManyConnections(most)

    def add(self, body: Body, fd: int | None, owner: str | None = None) -> None:
        """A response begins.

        :param fd: The connection, if it belongs to this response alone.
        """
        with self._lock:
            self._open[body] = fd
            if self._most_per_owner is not None and owner is not None:
                self._owned[owner] = self._owned.get(owner, 0) + 1
            recalled = self._recalled
        if recalled:
            self._recall(body)

    def forget(self, body: Body, owner: str | None = None) -> None:
        """A response has ended. To be called once, before its connection is closed."""
        with self._lock:
            fd = self._open.pop(body, None)
            left = self._owned.pop(owner, 1) - 1 if owner is not None else 0
            if owner is not None and left:
                self._owned[owner] = left
        if body.parted and fd is not None:
            # Whoever comes back on a connection that was kept comes back to us. We could not say so in
            # the head of the response, which was sent long before.
            hang_up(fd)

    def recall(self, *, everybody: bool = False) -> bool:
        """Tell some clients to come back, if they can. From now on also those that come to us.

        :returns: Whether there are more to be told.
        """
        with self._lock:
            if not self._recalled:
                self._recalled = True
                self._staying = list(self._open)
                self._step = max(RECALLED_AT_LEAST, len(self._staying) // STEPS)
            count = len(self._staying) if everybody else self._step
            some = self._staying[:count]
            del self._staying[:count]
        for body in some:
            self._recall(body)
        return bool(self._staying)

    def sweep(self) -> None:
        """Cut off whoever has taken nothing for too long. Does not block.

        Nothing is stamped when a write begins: a write that is seen at several looks is the same one
        if it is of the same object.
        """
        if self._patience is None:
            return
        now = self._clock()
        slow: dict[Body, tuple[bytes, float]] = {}
        with self._lock:
            for body, fd in self._open.items():
                data = body.writing
                if data is None or fd is None:
                    continue
                before, since = self._slow.get(body, (data, now))
                if before is not data:
                    since = now
                if now - since < self._patience:
                    slow[body] = (data, since)
                else:
                    # Under the lock, since it is still open only until it is forgotten.
                    cut(fd)
                    logger.info("A client that took nothing for %.1f s was cut off", now - since)
            self._slow = slow

    def _recall(self, body: Body) -> None:
        body.recall(self._random_ms(SOONEST, LATEST))
