"""Attach one response to one run, and release its resources when the connection ends.

A connection ends in one of two ways. Both call :meth:`ConnectionHooks.on_close`:

- the server closes the response: ``Delivery.close`` → ``on_close``;
- the client disconnects: the watcher → ``on_disconnect`` → the tail ends → the server closes the response.
"""

from __future__ import annotations

from flask_aistream.core.run import Run
from flask_aistream.delivery.body import Delivery
from flask_aistream.delivery.limits import ConnectionSlot
from flask_aistream.delivery.recall import close_recalled
from flask_aistream.delivery.tail import Tail
from flask_aistream.protocols.base import Encoder
from flask_aistream.protocols.base import WireProtocol
from flask_aistream.server import sockets
from flask_aistream.stores.base import Log
from flask_aistream.web.extension import Extension
from flask_aistream.web.extension import current_request
from flask_aistream.web.process import ProcessState

PAUSE_MS = 200
"""Reconnection time of a client whose response has reached the time limit of a sync worker. The worker serves other
clients in between."""


def open_connection(
    ext: Extension,
    log: Log,
    after: int,
    protocol: WireProtocol,
    encoder: Encoder,
    slot: ConnectionSlot,
    *,
    returns: bool = True,
) -> tuple[Delivery, Tail]:
    """Attach the connection of the current request to a log.

    :param after: Number of the last record that the client has.
    :param slot: Released when the connection closes.
    :param returns: The client may come back after a disconnect.
    """
    process, settings = ext.process, ext.settings
    environ = current_request().environ
    connection = sockets.socket_of(environ)
    fd = sockets.descriptor_of(connection)
    own_fd = None if sockets.is_shared(environ) else fd
    tail = Tail(
        log,
        after,
        process.waiter(),
        process.timer,
        heartbeat=settings.heartbeat_seconds if protocol.heartbeat else None,
        flush_interval=process.flush_interval,
    )
    hooks = ConnectionHooks(process, log.run, tail, fd, slot, returns)
    delivery = Delivery(
        tail,
        encoder,
        after,
        prologue=prologue(protocol, settings.retry_seconds),
        heartbeat=protocol.heartbeat,
        resumable=protocol.resumable,
        aborted_by=protocol.aborted_by,
        on_complete=hooks.on_complete,
        on_close=hooks.on_close,
    )
    hooks.delivery = delivery
    process.runner.attach(log.run.id)
    if own_fd is not None and settings.send_seconds is not None:
        sockets.bound(connection, settings.send_seconds)
    process.registry.add(delivery, own_fd)
    process.recall.opened(delivery)
    if fd is not None:
        process.watcher.watch(fd, hooks.on_disconnect)
    if process.longest_response is not None:
        process.timer.call_later(process.longest_response, lambda: delivery.recall(PAUSE_MS))
    return delivery, tail


def prologue(protocol: WireProtocol, retry_seconds: float) -> bytes:
    """The first bytes of a response: the reconnection time, if the protocol can resume."""
    return f"retry: {int(retry_seconds * 1000)}\n".encode() if protocol.resumable else b""


class ConnectionHooks:
    """Callbacks for the completion, disconnection and closing of one connection. Any thread may call them.

    :ivar delivery: The response body; ``None`` after closing, which breaks the reference cycle.
    """

    __slots__ = (
        "_asks_peer",
        "_attached",
        "_fd",
        "_process",
        "_returns",
        "_run",
        "_slot",
        "_tail",
        "delivery",
    )

    def __init__(
        self,
        process: ProcessState,
        run: Run,
        tail: Tail,
        fd: int | None,
        slot: ConnectionSlot,
        returns: bool,
    ) -> None:
        self.delivery: Delivery | None = None
        self._asks_peer = (
            False  # Check at the end of the response whether the client has acknowledged it.
        )
        self._process = process
        self._run = run
        self._tail = tail
        self._fd = fd
        self._slot = slot
        self._returns = returns
        self._attached = [run.id]  # Popped by the thread that detaches first.

    def on_complete(self) -> None:
        """The response has sent the terminal event."""
        self._asks_peer = self._fd is not None and self._run.chat is not None
        if self._fd is not None:
            sockets.unbound(self._fd)
        else:  # Without a socket, the client's acknowledgement cannot be checked.
            self._leave_chat()

    def on_disconnect(self) -> None:
        """The client has disconnected: detach from the run at once, and close the connection a little later.

        If a thousand clients disconnect together, all their providers are stopped before the first connection is
        closed, which takes longer.
        """
        self._tail.close(wake=False)
        self._detach()
        self._process.clearing.add(self._tail)

    def on_close(self) -> None:
        """The response is closed."""
        delivery, self.delivery = self.delivery, None
        if delivery is not None:
            close_recalled(delivery, self._process.registry.remove(delivery))
        self._slot.release()
        if self._fd is not None:
            self._process.watcher.forget(self._fd)
        self._detach()
        asks, self._asks_peer = self._asks_peer, False
        if asks and self._fd is not None and sockets.is_acknowledged(self._fd):
            self._leave_chat()

    def _leave_chat(self) -> None:
        """Make the chat have no run to reconnect to, since its answer was read to the end."""
        if self._run.chat is not None:
            self._process.store.leave_chat(self._run.chat, self._run.id)

    def _detach(self) -> None:
        try:
            run_id = self._attached.pop()
        except IndexError:  # Another thread has.
            return
        self._process.runner.detach(run_id, returns=self._returns)
