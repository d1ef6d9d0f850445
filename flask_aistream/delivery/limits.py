"""Limits on the open connections of a process and of each owner."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

from flask_aistream.errors import TooManyConnections
from flask_aistream.errors import Unavailable


class ConnectionLimits:
    """Counts connections from before their run starts until they close.

    :param lock: For critical sections that do not block.
    :param limit: Maximum number of open connections of this process; ``None``: unlimited.
    :param limit_per_owner: The same for one owner. Anonymous callers are not counted.
    """

    __slots__ = ("_count", "_limit", "_limit_per_owner", "_lock", "_per_owner")

    def __init__(
        self,
        lock: AbstractContextManager[object],
        *,
        limit: int | None = None,
        limit_per_owner: int | None = None,
    ) -> None:
        self._lock = lock
        self._limit = limit
        self._limit_per_owner = limit_per_owner
        self._count = 0
        self._per_owner: dict[str, int] = {}

    @property
    def count(self) -> int:
        """Number of open connections."""
        return self._count

    def acquire(self, owner: str | None) -> ConnectionSlot:
        """Take the place of one connection.

        Call it once a request, before anything is started for it, and release the slot when the
        connection closes or the request fails.

        :raises Unavailable: The process has reached its limit.
        :raises TooManyConnections: The owner has reached its limit.
        """
        with self._lock:
            if self._limit is not None and self._count >= self._limit:
                raise Unavailable(
                    "The server has as many streams open as it can. Try again in a moment."
                )
            if owner is not None and self._limit_per_owner is not None:
                count = self._per_owner.get(owner, 0)
                if count >= self._limit_per_owner:
                    raise TooManyConnections(self._limit_per_owner)
                self._per_owner[owner] = count + 1
            self._count += 1
        return ConnectionSlot(self, owner)

    def _release(self, owner: str | None) -> None:
        with self._lock:
            self._count -= 1
            if owner is not None and self._limit_per_owner is not None:
                left = self._per_owner.pop(owner) - 1
                if left:
                    self._per_owner[owner] = left


class ConnectionSlot:
    """One connection of the limit, held until :meth:`release`.

    A ``with`` block releases the slot only if the block raises. Otherwise the connection that the block has opened
    releases it.
    """

    __slots__ = ("_held", "_owner")

    def __init__(self, limits: ConnectionLimits, owner: str | None) -> None:
        self._held = [limits]
        self._owner = owner

    def __enter__(self) -> ConnectionSlot:
        return self

    def __exit__(self, raised: object, *_: object) -> None:
        if raised is not None:
            self.release()

    def release(self) -> None:
        """Release the slot. Idempotent; any thread may call it."""
        with contextlib.suppress(IndexError):  # Another call has popped it.
            self._held.pop()._release(self._owner)
