"""The open responses of this process."""

from __future__ import annotations

from contextlib import AbstractContextManager

from flask_aistream.delivery.body import Delivery


class ConnectionRegistry:
    """Open deliveries and the sockets below them. Any thread may call it.

    :param lock: For a few steps that do not block. Holding it keeps every socket in the registry open.
    """

    __slots__ = ("_open", "lock")

    def __init__(self, lock: AbstractContextManager[object]) -> None:
        self.lock = lock
        self._open: dict[Delivery, int | None] = {}

    def __len__(self) -> int:
        return len(self._open)

    def add(self, delivery: Delivery, fd: int | None) -> None:
        """A response begins.

        :param fd: Its socket; ``None`` if unknown, or shared with other responses (HTTP/2).
        """
        with self.lock:
            self._open[delivery] = fd

    def remove(self, delivery: Delivery) -> int | None:
        """A response has ended; call it before the server closes the socket.

        :returns: The socket, the first time; ``None`` from then on.
        """
        with self.lock:
            return self._open.pop(delivery, None)

    def deliveries(self) -> list[Delivery]:
        """A snapshot, oldest first."""
        with self.lock:
            return list(self._open)

    def items_locked(self) -> list[tuple[Delivery, int | None]]:
        """The same with sockets, for a caller that holds :attr:`lock`."""
        return list(self._open.items())
