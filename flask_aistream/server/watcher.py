"""See a client leave at once, not at the next write.

One watcher a process: an epoll set that waits for hang-ups only. It never reads from a socket, so it
does not mind TLS or requests sent ahead.
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

# select.EPOLLRDHUP without EPOLLIN: the peer has closed its side. HUP and ERR are always implied.
RDHUP = 0x2000
HANGUP = RDHUP | (1 << 30)  # EPOLLRDHUP | EPOLLONESHOT
ERROR = 0x8  # EPOLLERR


class DisconnectWatcher:
    """Calls back when the other side of a socket goes away.

    Half-closed counts as gone: it cannot be told from closed, and a client that was not gone resumes.
    """

    def __init__(self) -> None:
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._lock = threading.Lock()
        self._epoll: t.Any = None

    def watch(self, fd: int, callback: Callable[[], None]) -> bool:
        """Call ``callback`` once when the peer of ``fd`` leaves. It must not block.

        :returns: False where this platform cannot tell; heartbeats find out later.
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
        except FileExistsError:  # A descriptor number used again before it was forgotten.
            self._epoll.modify(fd, HANGUP)
        return True

    def forget(self, fd: int) -> None:
        """Stop watching. To be called before ``fd`` is closed."""
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

        # An epoll set is itself pollable: the hub wakes when one of its members has news.
        self._io = gevent.get_hub().loop.io(epoll.fileno(), 1)
        # Nothing is closed or accepted between that and the callbacks: all of it needs the hub.
        self._io.start(lambda: self._report(epoll.poll(0), lambda fd: True))

    def _poll_forever(self, epoll: t.Any) -> None:
        while True:
            self._report(epoll.poll(), has_left)

    def _report(self, news: list[tuple[int, int]], has_left: Callable[[int], bool]) -> None:
        for fd, what in news:
            callback = self._callbacks.get(fd)
            # In this order: should the number be another connection's by now, then either that one is still
            # there, or the callback is one of a connection that is not.
            if callback and has_left(fd):
                if what & ERROR:
                    take_error(fd)
                try:
                    callback()
                except Exception:  # One connection must not blind us to all others.
                    logger.exception("A connection that left could not be closed")


def has_left(fd: int) -> bool:
    """Whether the peer of an open socket is gone, now."""
    now = select.poll()
    now.register(fd, RDHUP)
    return any(what & (RDHUP | select.POLLHUP | select.POLLERR) for _, what in now.poll(0))


def native_epoll() -> t.Any:
    """An epoll set, also where gevent has hidden them; ``False`` where the platform has none."""
    if not sys.platform.startswith("linux"):
        return False
    if patched_by_gevent():
        from gevent import monkey

        return monkey.get_original("select", "epoll")()
    return select.epoll()
