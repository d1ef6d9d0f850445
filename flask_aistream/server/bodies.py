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

from flask_aistream.server import gunicorn
from flask_aistream.server import sockets
from flask_aistream.server.detect import patched_by_gevent
from flask_aistream.timing.timer import Timer


class BodyRead:
    """A body that is being read.

    :ivar ended: It took too long, and its socket was shut down.
    """

    __slots__ = ("ended", "fd")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.ended = False


class BodyReads:
    """The bodies that are being read in this process.

    :param seconds: Longest time of one; ``None``: any.
    :param lock: For critical sections that do not block.
    :param max_reads: Maximum number of concurrent reads; one more ends the oldest. By default half of the requests that
        gunicorn's worker serves at once, so that slow bodies leave the other half to other requests.
    """

    def __init__(
        self,
        timer: Timer,
        lock: AbstractContextManager[object],
        *,
        seconds: float | None,
        max_reads: int | None = None,
    ) -> None:
        self._timer = timer
        self._lock = lock
        self._seconds = seconds
        self._max_reads = max_reads or half_of_places()
        self._reads: dict[BodyRead, None] = {}

    @contextlib.contextmanager
    def limit(self, environ: dict[str, t.Any]) -> Iterator[Callable[[], bool]]:
        """Limit the reading of a body within a ``with`` block. Where the server does not reveal its socket, the
        server's own limits apply.

        :returns: Whether the body was ended.
        """
        fd = None
        if self._seconds is not None and not sockets.is_shared(environ):
            fd = sockets.descriptor_of(sockets.socket_of(environ))
        if fd is None:
            yield lambda: False
            return
        read = BodyRead(fd)
        alarm = self._timer.call_later(self._seconds or 0.0, lambda: self._end(read))
        with self._lock:
            self._reads[read] = None
            crowded = self._max_reads is not None and len(self._reads) > self._max_reads
            oldest = next(iter(self._reads)) if crowded else None
        if oldest is not None:
            self._end(oldest)
        try:
            yield lambda: read.ended
        finally:
            alarm.cancel()
            with self._lock:
                self._reads.pop(read, None)

    def _end(self, read: BodyRead) -> None:
        # Under the lock: the descriptor is not closed and reused before the read has left the registry.
        with self._lock:
            if read in self._reads:
                del self._reads[read]
                read.ended = True
                sockets.stop_receiving(read.fd)


def half_of_places() -> int | None:
    """Half of the requests that gunicorn's worker serves at once; ``None`` where that is not known."""
    worker = gunicorn.find_worker()
    if worker is None:
        return None
    if patched_by_gevent():
        return max(int(worker.cfg.worker_connections) // 2, 1)
    return max(int(worker.cfg.threads) // 2, 1) if worker.cfg.threads > 1 else None
