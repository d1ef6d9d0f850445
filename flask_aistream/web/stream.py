"""A run's log → the response that follows it, from a cursor on or as a whole."""

from __future__ import annotations

import contextlib
import re
import typing as t
from collections.abc import Mapping

from flask import Response
from flask import current_app
from flask import request
from flask import url_for

from flask_aistream.core import events as ev
from flask_aistream.core.cursor import BEGINNING
from flask_aistream.core.cursor import Cursor
from flask_aistream.core.fold import Fold
from flask_aistream.core.run import Run
from flask_aistream.delivery.body import Delivery
from flask_aistream.delivery.tail import Tail
from flask_aistream.protocols.base import NOTHING
from flask_aistream.protocols.base import Encoder
from flask_aistream.protocols.base import EncoderContext
from flask_aistream.protocols.base import WireProtocol
from flask_aistream.protocols.endings import fault
from flask_aistream.protocols.wire import dumps
from flask_aistream.server import sockets
from flask_aistream.stores.base import Log
from flask_aistream.web.extension import Extension
from flask_aistream.web.extension import ProcessState
from flask_aistream.web.extension import current_request
from flask_aistream.web.extension import extension
from flask_aistream.web.responses import failure_response
from flask_aistream.web.responses import json_response
from flask_aistream.web.responses import stream_response

PAUSE_MS = 200
"""Until a client comes back whose response may not last longer: others are served meanwhile."""

PLAIN = re.compile(r"[A-Za-z0-9/._~-]*")
"""A prefix without variables, and without characters that a URL has in another form."""


def resume(
    log: Log, cursor: Cursor, protocol: WireProtocol, options: Mapping[str, t.Any] = NOTHING
) -> Response:
    """Go on after ``cursor``; 204 where nothing will ever come any more.

    :raises CursorInvalid: The log is not that long.
    """
    page = log.read(cursor.number, limit=1)
    after = cursor.number
    if page.ended and not page.events:
        if not protocol.again:
            return Response(status=204)
        after -= 1
    return follow(log, BEGINNING if protocol.stateful else after, protocol, options)


def follow(
    log: Log,
    after: int,
    protocol: WireProtocol,
    options: Mapping[str, t.Any] = NOTHING,
    *,
    commit: bool = False,
) -> Response:
    """Stream a log from record ``after`` on.

    :param commit: Wait a moment for the first event, so that an early failure is an HTTP error.
    """
    ext = extension()
    delivery, tail = deliver(ext, log, after, protocol, options)
    try:
        if commit:
            first = tail.wait_beyond(0, ext.settings.commit_seconds)
            if isinstance(first, ev.Failed):
                delivery.close()
                return failure_response(protocol, first)
        return stream_response(protocol, delivery, log.run.id)
    except BaseException:  # Nobody else would close it: a store may be away, an encoder fail.
        delivery.close()
        raise


def answer(log: Log, protocol: WireProtocol, options: Mapping[str, t.Any]) -> Response:
    """Wait for the end of a run, and answer with the whole of it."""
    delivery, tail = deliver(extension(), log, BEGINNING, protocol, options)
    fold = Fold()
    try:
        for page in tail:
            fold.add(page.events if page else ())
    finally:
        delivery.close()
    if fold.terminal is None:  # The client left, and the tail was closed.
        return Response(status=499)
    failed = fault(fold.terminal)
    return failure_response(protocol, failed) if failed else whole_response(log, fold, protocol)


def whole_response(log: Log, fold: Fold, protocol: WireProtocol) -> Response:
    """What a run said so far, as the one JSON object of a dialect that has such a thing."""
    run = log.run
    context = EncoderContext(run.id, run.provider, run.created, links_of(run))
    assert protocol.whole
    return json_response(protocol, dumps(protocol.whole(fold, context)), run.id)


def deliver(
    ext: Extension, log: Log, after: int, protocol: WireProtocol, options: Mapping[str, t.Any]
) -> tuple[Delivery, Tail]:
    """Attach this connection to a log.

    :raises Unavailable: There are as many connections as there may be.
    """
    process, settings = ext.process, ext.settings
    process.connections.check(log.run.owner)
    connection = sockets.socket_of(request.environ)
    fd = sockets.descriptor_of(connection)
    own = not sockets.is_shared(request.environ)
    tail = Tail(
        log,
        after,
        process.waiter(),
        process.timer,
        heartbeat=settings.heartbeat_seconds if protocol.heartbeat else None,
        flush_interval=process.flush_interval,
    )
    hooks = ConnectionHooks(process, tail, fd, log.run)
    delivery = Delivery(
        tail,
        encoder_for(ext, log.run, protocol, options),
        after,
        prologue=f"retry: {int(settings.retry_seconds * 1000)}\n".encode()
        if protocol.resumable
        else b"",
        heartbeat=protocol.heartbeat,
        resumable=protocol.resumable,
        silent=protocol.silent,
        on_told=hooks.on_complete,
        on_close=hooks.on_close,
    )
    hooks.delivery = delivery
    process.runner.attach(log.run.id)
    if own and settings.send_seconds is not None:
        sockets.bound(connection, settings.send_seconds)
    process.quicken(connection)
    process.connections.add(delivery, fd if own else None, log.run.owner)
    if fd is not None:
        process.watcher.watch(fd, hooks.on_disconnect)
    if process.longest_response is not None:
        process.timer.later(process.longest_response, lambda: delivery.recall(PAUSE_MS))
    return delivery, tail


class ConnectionHooks:
    """One connection that reads a run, and what is to be done when it ends."""

    __slots__ = ("_fd", "_process", "_reading", "_run", "_tail", "delivery")

    def __init__(self, process: ProcessState, tail: Tail, fd: int | None, run: Run) -> None:
        self.delivery: Delivery | None = None
        self._process = process
        self._tail = tail
        self._fd = fd
        self._run = run
        self._reading = [run.id]  # It is left once, by whichever thread comes first.

    def on_disconnect(self) -> None:
        """The client has left: end the run first, if that is to be done, and the connection after it.

        Where a thousand leave at once, the last provider need not wait until nine hundred connections are
        cleared away, which nobody waits for.
        """
        self._tail.close(wake=False)
        self._leave_run()
        self._process.clearing.add(self._tail)

    def on_complete(self) -> None:
        """The client has read the run to its end: whoever asks for its conversation has missed nothing."""
        if self._fd is not None:
            sockets.unbound(self._fd)
        if self._run.chat is not None:
            self._process.store.leave_chat(self._run.chat, self._run.id)

    def on_close(self) -> None:
        """The connection has ended."""
        # They know each other: not to be kept for that.
        delivery, self.delivery = self.delivery, None
        if delivery is not None:
            self._process.connections.forget(delivery, self._run.owner)
        if self._fd is not None:
            self._process.watcher.forget(self._fd)
        self._leave_run()

    def _leave_run(self) -> None:
        with contextlib.suppress(IndexError):
            self._process.runner.leave(self._reading.pop())


def encoder_for(
    ext: Extension, run: Run, protocol: WireProtocol, options: Mapping[str, t.Any]
) -> Encoder:
    links = links_of(run)
    context = EncoderContext(run.id, run.provider, run.created, links, options)
    if protocol.stateful:
        return protocol.encoder(context)
    key = (protocol.name, run.id, links["events"])
    return ext.process.encoders.get(key, lambda: protocol.encoder(context))


def links_of(run: Run) -> dict[str, str]:
    """Paths of a run below the blueprint that is being asked; where that is a view of the application's
    own, below one that has its provider."""
    ext, request = extension(), current_request()
    name = request.blueprint or ""
    if name not in ext.blueprints:
        return links_below(ext.blueprint_of(run.provider), run.id)
    prefix = ext.prefixes[name]
    if current_app.url_default_functions or not PLAIN.fullmatch(prefix):
        return links_below("", run.id)
    # What url_for would say, at a tenth of its cost (2 against 20 µs of the time to the first token).
    here = f"{request.script_root}{prefix}/runs/{run.id}"
    return {"events": f"{here}/events", "stop": f"{here}/stop"}


def links_below(blueprint: str, run_id: str) -> dict[str, str]:
    return {
        "events": url_for(f"{blueprint}.events", run_id=run_id),
        "stop": url_for(f"{blueprint}.stop", run_id=run_id),
    }
