"""Limit the time and the number of request bodies that arrive slowly.

Reading a body blocks its greenlet or thread, and a server has only so many places. The receiving side of the socket of
a body that takes too long is shut down, which ends the read in any kind of worker; the response can still be sent.
"""

from __future__ import annotations

import contextlib
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import AbstractContextManager

from flask_aistream.server import sockets
from flask_aistream.timing.timer import Timer

FEW = 20
"""One place in so many is left to bodies, however many streams there are; and as many, at least one, to other requests."""

CROWDED_SECONDS = 0.5
"""How long a body may arrive while there are too few places. Most bodies arrive at once."""


class BodyRead:
    """A body that is being read.

    :ivar ended: It took too long, and its socket was shut down.
    """

    __slots__ = ("ended", "fd")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.ended = False


UNLIMITED: AbstractContextManager[Callable[[], bool]] = contextlib.nullcontext(lambda: False)


class BodyReads:
    """The bodies that are being read in this process.

    :param seconds: Longest time of one; ``None``: any.
    :param lock: For critical sections that do not block.
    :param places: How many requests the worker serves at once; ``None``: any number. If bodies take more than half of
        the places, or bodies and streams together nearly all, the oldest body is ended.
    :param streams: How many places streams take.
    """

    def __init__(
        self,
        timer: Timer,
        lock: AbstractContextManager[object],
        *,
        seconds: float | None,
        places: int | None = None,
        streams: Callable[[], int] = int,
    ) -> None:
        self._timer = timer
        self._lock = lock
        self._seconds = seconds
        self._places = places
        self._streams = streams
        self._reads: dict[BodyRead, None] = {}

    def limit(self, environ: dict[str, t.Any]) -> AbstractContextManager[Callable[[], bool]]:
        """Limit the reading of a body within a ``with`` block. Where the server does not reveal its socket, the
        server's own limits apply.

        :returns: Whether the body was ended.
        """
        fd = None
        if self._seconds is not None and not sockets.is_shared(environ):
            fd = sockets.descriptor_of(sockets.socket_of(environ))
        return UNLIMITED if fd is None else self._limited(fd)

    @contextlib.contextmanager
    def _limited(self, fd: int) -> Iterator[Callable[[], bool]]:
        read = BodyRead(fd)
        alarm = self._timer.call_later(self._seconds or 0.0, lambda: self._end(read))
        with self._lock:
            self._reads[read] = None
        self.make_room()
        try:
            yield lambda: read.ended
        finally:
            alarm.cancel()
            with self._lock:
                self._reads.pop(read, None)

    def make_room(self) -> None:
        """End the oldest body if too few places are left. To be called after a body or a stream takes one."""
        if self._places is None:
            return
        if len(self._reads) > max(self._places // 2, 1):
            self._end_oldest()
        elif self._crowded():
            self._timer.call_later(CROWDED_SECONDS, self._end_if_crowded)

    def _crowded(self) -> bool:
        """Whether bodies and streams together take nearly all places."""
        places, bodies = self._places or 0, len(self._reads)
        few = places // FEW
        return bodies > few and bodies + self._streams() > places - max(few, 1)

    def _end_if_crowded(self) -> None:
        if self._crowded():
            self._end_oldest()

    def _end_oldest(self) -> None:
        with self._lock:
            oldest = next(iter(self._reads), None)
        if oldest is not None:
            self._end(oldest)

    def _end(self, read: BodyRead) -> None:
        # Under the lock: the descriptor is not closed and reused before the read has left the registry.
        with self._lock:
            if read in self._reads:
                del self._reads[read]
                read.ended = True
                sockets.stop_receiving(read.fd)
