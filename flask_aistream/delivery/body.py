"""One connection: a cursor taken through a log into one response."""

from __future__ import annotations

import errno
import weakref
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import AbstractContextManager

from flask_aistream.core.events import Event
from flask_aistream.core.events import Terminal
from flask_aistream.delivery.tail import Tail
from flask_aistream.errors import StoreUnavailable
from flask_aistream.protocols.base import Encoder

WRITE = 256 * 1024
"""Most bytes of one write: a write that does not return is then a client that takes next to nothing, and
not one that was given a large file. A page of text stays whole; cutting it up at 64 KiB cost a tenth of the
speed of a provider that never waits."""


class Delivery:
    """The body of a response, as bytes to write. Iterating blocks; one item is one write.

    :param after: Number of the record the connection stands at.
    :param prologue: Put before the first page (the reconnection time).
    :param heartbeat: Sent after a silence; ``None`` where the format has none.
    :param resumable: The client comes back when it is told to, see :meth:`recall`.
    :param silent: Terminal events the format has no word for: the connection is broken off instead.
    :param on_told: Called when everything to the run's end was handed over.
    :param on_close: Called once, when the connection has ended for whatever reason.
    :ivar writing: What the server has been given and not yet written.
    :ivar parted: The last thing the client was told is to come back.
    """

    __slots__ = (
        "_after",
        "_encoder",
        "_farewell",
        "_heartbeat",
        "_on_close",
        "_on_told",
        "_prologue",
        "_resumable",
        "_silent",
        "_tail",
        "parted",
        "writing",
    )

    def __init__(
        self,
        tail: Tail,
        encoder: Encoder,
        after: int,
        *,
        prologue: bytes,
        heartbeat: bytes | None,
        resumable: bool = False,
        silent: tuple[type[Terminal], ...] = (),
        on_told: Callable[[], None] = lambda: None,
        on_close: Callable[[], None],
    ) -> None:
        self._tail = tail
        self._encoder = encoder
        self._after = after
        self._prologue = prologue
        self._heartbeat = heartbeat
        self._resumable = resumable
        self._farewell = b""
        self.writing: bytes | None = None
        self.parted = False
        self._silent = silent
        self._on_told = on_told
        self._on_close: Callable[[], None] | None = on_close

    def __iter__(self) -> Iterator[bytes]:
        expected, ended = self._after + 1, False
        try:
            for page in self._tail:
                if page is None:
                    data = self._heartbeat or b""
                else:
                    first, events, ended = page
                    gap = b""
                    if first > expected:
                        gap = self._encoder.gap(first) or broken_off()
                    data = self._prologue + gap + self._encoder.encode(first, events)
                    self._prologue = b""
                    expected = first + len(events)
                if len(data) > WRITE:
                    yield from self._in_pieces(data)
                elif data:
                    self.writing = data
                    yield data
                    self.writing = None
                if ended:
                    self._on_told()
                    if events and isinstance(events[-1], self._silent):
                        broken_off()
        except StoreUnavailable:  # It is another process's run, and nobody can tell how it goes on.
            broken_off()
        if self._farewell and not ended:
            self.parted = True
            self.writing = self._farewell
            yield self._farewell

    def recall(self, milliseconds: int) -> None:
        """Have the client come back after so long, to somebody else, and end; if it is one that can.

        What is in the log now is told before. Never blocks; any thread may call it.
        """
        if self._resumable:
            self._farewell = f"retry: {milliseconds}\n".encode()
            self._tail.finish()

    def _in_pieces(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), WRITE):
            self.writing = data[start : start + WRITE]
            yield self.writing
        self.writing = None

    def close(self) -> None:
        """Free everything, also if it was never iterated. Any thread may call it, any number of times."""
        self._tail.close()
        on_close, self._on_close = self._on_close, None
        if on_close:
            on_close()


def broken_off() -> bytes:
    """Let the server drop the connection without the end of a body: a client must not take what it
    has for a complete answer. To servers this is a client that went away, which they do not report.

    :raises ConnectionResetError: Always.
    """
    raise ConnectionResetError(
        errno.ECONNRESET, "the answer is not complete, and this format cannot say so"
    )


class SharedEncoder:
    """An encoder without memory of its own, for all readers of one run: each page is encoded once.

    Readers of a live run ask for the same page at the same time, so the last one is enough to keep.
    """

    __slots__ = ("__weakref__", "_encoder", "_last")

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._last: tuple[int, int, bytes] = (-1, -1, b"")

    def encode(self, first: int, events: Sequence[Event]) -> bytes:
        known_first, known_count, data = self._last
        count = len(events)
        if first != known_first or count != known_count:
            data = self._encoder.encode(first, events)
            self._last = (first, count, data)
        return data

    def gap(self, first: int) -> bytes:
        return self._encoder.gap(first)


class SharedEncoders:
    """The shared encoder of each run and protocol that somebody reads now.

    :param lock: For a few steps that do not block.
    """

    def __init__(self, lock: AbstractContextManager[object]) -> None:
        self._shared: weakref.WeakValueDictionary[object, SharedEncoder] = (
            weakref.WeakValueDictionary()
        )
        self._lock = lock

    def get(self, key: object, make: Callable[[], Encoder]) -> SharedEncoder:
        """The encoder that the other readers of ``key`` use, or a new one."""
        with self._lock:
            shared = self._shared.get(key)
            if shared is None:
                shared = self._shared[key] = SharedEncoder(make())
            return shared
