"""The body of a response: the pages of a log, encoded for one connection."""

from __future__ import annotations

import errno
import typing as t
from collections.abc import Callable
from collections.abc import Iterator

from flask_aistream.core.events import Terminal
from flask_aistream.core.page import Page
from flask_aistream.delivery.tail import Tail
from flask_aistream.errors import StoreUnavailable
from flask_aistream.protocols.base import Encoder

MAX_WRITE_BYTES = 256 * 1024
"""Maximum size of one write. A write of this size that does not return means that the client reads almost nothing,
not that it receives a large file. A page of text is smaller: splitting pages at 64 KiB cost a tenth of the
throughput of a provider that never waits."""


class Delivery:
    """Yields the bytes of one response; one item is one write. Iterating blocks.

    :param after: Number of the last record that the client has.
    :param prologue: Sent before the first page (the reconnection time).
    :param heartbeat: Sent after a silence; ``None`` if the protocol has no heartbeat.
    :param resumable: The client reconnects with a cursor, so it can be recalled; see :meth:`recall`.
    :param aborted_by: Terminal events that the protocol cannot encode: the connection is aborted instead.
    :param on_complete: Called when the client was sent everything up to the end of the run.
    :param on_close: Called once, when the connection has ended for any reason.
    :ivar writing: Bytes that the server is writing now; ``None`` between two writes.
    :ivar recalled: The last bytes sent ask the client to reconnect.
    """

    __slots__ = (
        "_aborted_by",
        "_encoder",
        "_heartbeat",
        "_next",
        "_on_close",
        "_on_complete",
        "_prologue",
        "_recall_frame",
        "_resumable",
        "_tail",
        "recalled",
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
        aborted_by: tuple[type[Terminal], ...] = (),
        on_complete: Callable[[], None] = lambda: None,
        on_close: Callable[[], None],
    ) -> None:
        self._tail = tail
        self._encoder = encoder
        self._next = after + 1
        self._prologue = prologue
        self._heartbeat = heartbeat
        self._resumable = resumable
        self._recall_frame = b""
        self.writing: bytes | None = None
        self.recalled = False
        self._aborted_by = aborted_by
        self._on_complete = on_complete
        self._on_close: Callable[[], None] | None = on_close

    def __iter__(self) -> Iterator[bytes]:
        ended = False
        try:
            for page in self._tail:
                data = self._encode(page) if page is not None else self._heartbeat or b""
                for start in range(0, len(data), MAX_WRITE_BYTES):
                    self.writing = data[start : start + MAX_WRITE_BYTES]
                    yield self.writing
                self.writing = None
                if page is not None and page.ended:
                    ended = True
                    self._on_complete()
                    if page.events and isinstance(page.events[-1], self._aborted_by):
                        abort_connection()
        except StoreUnavailable:
            # Another process owns the run, and its log cannot be read further.
            abort_connection()
        if self._recall_frame and not ended:
            self.recalled = True
            self.writing = self._recall_frame
            yield self.writing

    def recall(self, milliseconds: int) -> None:
        """Send the current content of the log, ask the client to reconnect after this time, and end.

        Has no effect on a client that cannot resume. Never blocks; any thread may call it.
        """
        if self._resumable:
            self._recall_frame = f"retry: {milliseconds}\n".encode()
            self._tail.drain()

    def close(self) -> None:
        """Release all resources, whether or not it was iterated. Idempotent; any thread may call it."""
        self._tail.close()
        on_close, self._on_close = self._on_close, None
        if on_close:
            on_close()

    def _encode(self, page: Page) -> bytes:
        gap = b""
        if page.first > self._next:
            gap = self._encoder.gap(page.first) or abort_connection()
        data = self._prologue + gap + self._encoder.encode(page.first, page.events)
        self._prologue = b""
        self._next = page.last + 1
        return data


def abort_connection() -> t.NoReturn:
    """Make the server close the connection without the end of the body, so that the client does not take an
    incomplete answer for a complete one. Servers handle this error as a client that disconnected, and do not log it.

    :raises ConnectionResetError: Always.
    """
    raise ConnectionResetError(
        errno.ECONNRESET, "the answer is incomplete, and this protocol cannot express that"
    )
