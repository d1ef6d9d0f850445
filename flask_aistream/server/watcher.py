"""Notice a disconnected client at once, not at the next write.

One watcher a process: an epoll set that waits for hang-ups only. It never reads from a socket, so TLS and
pipelined requests do not disturb it.
"""

from __future__ import annotations

import contextlib
import logging
import select
import sys
import threading
import typing as t
from collections.abc import Callable

from flask_aistream.server.detect import patched_by_gevent
from flask_aistream.server.sockets import take_error

logger = logging.getLogger("flask_aistream")

# select.EPOLLRDHUP without EPOLLIN: the peer has closed its side. HUP and ERR are always reported.
RDHUP = 0x2000
HANGUP = RDHUP | (1 << 30)  # EPOLLRDHUP | EPOLLONESHOT
ERROR = 0x8  # EPOLLERR


class DisconnectWatcher:
    """Calls back when the peer of a socket disconnects.

    Half-closed counts as disconnected: it looks the same, and a client that is still there resumes.
    """

    def __init__(self) -> None:
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._lock = threading.Lock()
        self._epoll: t.Any = None

    def watch(self, fd: int, callback: Callable[[], None]) -> bool:
        """Call ``callback`` once when the peer of ``fd`` disconnects. It must not block.

        :returns: False on a platform without epoll; there the next heartbeat fails instead.
        """
        if self._epoll is None:
            with self._lock:
                if self._epoll is None:
                    self._epoll = self._start()
        if not self._epoll:
            return False
        self._callbacks[fd] = callback
        try:
            self._epoll.register(fd, HANGUP)
        except FileExistsError:  # The descriptor was closed and reused before forget().
            self._epoll.modify(fd, HANGUP)
        return True

    def forget(self, fd: int) -> None:
        """Stop watching. Call it before ``fd`` is closed."""
        if self._callbacks.pop(fd, None) is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(fd)

    def _start(self) -> t.Any:
        epoll = native_epoll()
        if epoll and patched_by_gevent():
            self._await_on_hub(epoll)
        elif epoll:
            threading.Thread(
                target=self._poll_forever, args=(epoll,), name="aistream-watcher", daemon=True
            ).start()
        return epoll

    def _await_on_hub(self, epoll: t.Any) -> None:
        import gevent

        # An epoll set is itself pollable: the hub wakes when one of its members is ready.
        self._io = gevent.get_hub().loop.io(epoll.fileno(), 1)
        # Nothing is closed or accepted between poll() and the callbacks: both need the hub.
        self._io.start(lambda: self._report(epoll.poll(0), lambda fd: True))

    def _poll_forever(self, epoll: t.Any) -> None:
        while True:
            self._report(epoll.poll(), has_left)

    def _report(self, events: list[tuple[int, int]], has_left: Callable[[int], bool]) -> None:
        for fd, mask in events:
            callback = self._callbacks.get(fd)
            # The callback first, then the socket: if the number was reused meanwhile, either the new
            # connection is open, or the callback belongs to one that is not.
            if callback and has_left(fd):
                if mask & ERROR:
                    take_error(fd)
                try:
                    callback()
                except Exception:  # The watcher must go on for all other connections.
                    logger.exception("Could not end the connection of a client that left")


def has_left(fd: int) -> bool:
    """Whether the peer of an open socket has disconnected by now."""
    poll = select.poll()
    poll.register(fd, RDHUP)
    return any(mask & (RDHUP | select.POLLHUP | select.POLLERR) for _, mask in poll.poll(0))


def native_epoll() -> t.Any:
    """An epoll set, also where gevent has hidden the class; ``False`` where the platform has none."""
    if not sys.platform.startswith("linux"):
        return False
    if patched_by_gevent():
        from gevent import monkey

        return monkey.get_original("select", "epoll")()
    return select.epoll()
