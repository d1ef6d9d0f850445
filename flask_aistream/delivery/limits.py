"""Limits on the open connections of a process, of each owner, and of each address."""

from __future__ import annotations

from contextlib import AbstractContextManager

from flask_aistream.errors import TooManyConnections
from flask_aistream.errors import Unavailable

RESUMES = 10
"""One connection in so many is only for resuming a run: its reader does not wait while new runs take every place."""

Holder = tuple[str, str]
"""``owner`` or ``address``, and which one."""


class ConnectionLimits:
    """Counts connections from before their run starts until they close.

    :param lock: For critical sections that do not block.
    :param limit: Maximum number of open connections of this process; ``None``: unlimited.
    :param limit_per_owner: The same for one owner.
    :param limit_per_address: The same for the anonymous clients of one address.
    """

    __slots__ = ("_count", "_limit", "_limits_per", "_lock", "_per_holder")

    def __init__(
        self,
        lock: AbstractContextManager[object],
        *,
        limit: int | None = None,
        limit_per_owner: int | None = None,
        limit_per_address: int | None = None,
    ) -> None:
        self._lock = lock
        self._limit = limit
        self._limits_per = {"owner": limit_per_owner, "address": limit_per_address}
        self._count = 0
        self._per_holder: dict[Holder, int] = {}

    @property
    def count(self) -> int:
        """Number of open connections."""
        return self._count

    @property
    def half_taken(self) -> bool:
        """Whether more than half of the places of this process are taken."""
        return self._limit is not None and self._count * 2 > self._limit

    def acquire(
        self, owner: str | None, address: str | None = None, *, resumes: bool = False
    ) -> ConnectionSlot:
        """Take the place of one connection.

        Call it once a request, before anything is started for it, and release the slot when the
        connection closes or the request fails.

        :param address: Of an anonymous client, if it tells clients apart.
        :param resumes: The connection reads a run that exists.
        :raises Unavailable: The process has reached its limit.
        :raises TooManyConnections: The owner or the address has reached its limit.
        """
        holder = self._holder(owner, address)
        with self._lock:
            if self._limit is not None:
                limit = self._limit if resumes else self._limit - self._limit // RESUMES
                if self._count >= limit:
                    raise Unavailable(
                        "The server has as many streams open as it can. Try again in a moment."
                    )
            if holder is not None:
                count = self._per_holder.get(holder, 0)
                limit_of_holder = self._limits_per[holder[0]]
                if limit_of_holder is not None and count >= limit_of_holder:
                    raise TooManyConnections(limit_of_holder, of_network=holder[0] == "address")
                self._per_holder[holder] = count + 1
            self._count += 1
        return ConnectionSlot(self, holder)

    def _holder(self, owner: str | None, address: str | None) -> Holder | None:
        """What a connection counts against, if that is limited."""
        kind, name = ("owner", owner) if owner is not None else ("address", address)
        return (kind, name) if name is not None and self._limits_per[kind] is not None else None

    def _release(self, holder: Holder | None) -> None:
        with self._lock:
            self._count -= 1
            if holder is not None:
                left = self._per_holder.pop(holder) - 1
                if left:
                    self._per_holder[holder] = left


class ConnectionSlot:
    """One connection of the limit, held until :meth:`release`.

    A ``with`` block releases the slot only if the block raises. Otherwise the connection that the block has opened
    releases it.
    """

    __slots__ = ("_held", "_holder")

    def __init__(self, limits: ConnectionLimits, holder: Holder | None) -> None:
        self._held = [limits]
        self._holder = holder

    def __enter__(self) -> ConnectionSlot:
        return self

    def __exit__(self, raised: object, *_: object) -> None:
        if raised is not None:
            self.release()

    def release(self) -> None:
        """Release the slot. Idempotent; any thread may call it."""
        try:
            limits = self._held.pop()
        except IndexError:  # Another call has popped it.
            return
        limits._release(self._holder)
