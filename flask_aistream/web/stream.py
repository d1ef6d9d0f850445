"""A run's log → the response that streams it, from a cursor or from its beginning."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from flask import Response

from flask_aistream.core import events as ev
from flask_aistream.core.cursor import BEGINNING
from flask_aistream.core.cursor import Cursor
from flask_aistream.core.fold import Fold
from flask_aistream.core.run import Run
from flask_aistream.delivery.body import Delivery
from flask_aistream.delivery.limits import ConnectionSlot
from flask_aistream.delivery.tail import Tail
from flask_aistream.protocols.base import Encoder
from flask_aistream.protocols.base import EncoderContext
from flask_aistream.protocols.base import WireProtocol
from flask_aistream.protocols.endings import failure_of
from flask_aistream.protocols.wire import dumps
from flask_aistream.stores.base import Log
from flask_aistream.web.address import address_of
from flask_aistream.web.call import raise_exception_of
from flask_aistream.web.connection import open_connection
from flask_aistream.web.extension import Extension
from flask_aistream.web.extension import current_request
from flask_aistream.web.links import links_of
from flask_aistream.web.responses import failure_response
from flask_aistream.web.responses import json_response
from flask_aistream.web.responses import no_content
from flask_aistream.web.responses import stream_response

Options = Mapping[str, t.Any]


def admit(ext: Extension, owner: str | None, *, resumes: bool = False) -> ConnectionSlot:
    """Take the place of one connection: once for each stream, and before a run is started for it.

    :param owner: Of the run; ``None`` for an anonymous one.
    :param resumes: The stream reads a run that exists.
    :raises Unavailable: A limit of connections is reached.
    """
    address = address_of(ext, current_request()) if owner is None else None
    slot = ext.process.limits.acquire(owner, address, resumes=resumes)
    ext.process.bodies.make_room()
    return slot


def resume(
    ext: Extension, log: Log, cursor: Cursor, protocol: WireProtocol, options: Options
) -> Response:
    """Stream what follows ``cursor``; 204 if the client has the whole of an ended run.

    :raises CursorInvalid: The log is shorter.
    :raises Unavailable: The limit of connections is reached.
    """
    ext.process.count_resume()
    page = log.read(cursor.number, limit=1)
    after = cursor.number
    if page.ended and not page.events:
        if not protocol.repeat_last:
            return no_content()
        after -= 1
    after = BEGINNING if protocol.stateful else after
    with admit(ext, log.run.owner, resumes=True) as slot:
        return follow(ext, log, after, protocol, options, slot)


def follow(
    ext: Extension,
    log: Log,
    after: int,
    protocol: WireProtocol,
    options: Options,
    slot: ConnectionSlot,
    *,
    commit: bool = False,
) -> Response:
    """Stream a log from the record after number ``after``.

    :param slot: From :func:`admit`; released when the connection closes.
    :param commit: The request starts a run: wait up to ``AISTREAM_COMMIT_SECONDS`` for the first event, so that an
        early failure is an HTTP error.
    """
    delivery, tail = attach(ext, log, after, protocol, options, slot, starts=commit)
    try:
        if commit:
            first = tail.wait_for_event(0, ext.settings.commit_seconds)
            if isinstance(first, ev.Failed):
                delivery.close()
                raise_exception_of(ext.exceptions, log.run.id)
                return failure_response(protocol, first, log.run.id)
        return stream_response(protocol, delivery, log.run.id)
    except BaseException:  # The server closes only what is returned to it.
        delivery.close()
        raise


def complete_response(
    ext: Extension, log: Log, protocol: WireProtocol, options: Options, slot: ConnectionSlot
) -> Response:
    """Wait for the end of a run, and return all of it in one response."""
    delivery, tail = attach(ext, log, BEGINNING, protocol, options, slot, starts=True)
    fold = Fold()
    try:
        for page in tail:
            fold.add(page.events if page else ())
    finally:
        delivery.close()
    if fold.terminal is None:  # The client disconnected, which closed the tail.
        return Response(status=499)
    failed = failure_of(fold.terminal)
    if failed and not fold.parts:
        raise_exception_of(ext.exceptions, log.run.id)
    return (
        failure_response(protocol, failed, log.run.id)
        if failed
        else snapshot_response(ext, log, fold, protocol)
    )


def snapshot_response(ext: Extension, log: Log, fold: Fold, protocol: WireProtocol) -> Response:
    """A run so far as one JSON object. The protocol must have a ``response_body``."""
    run = log.run
    context = EncoderContext(run.id, run.provider, run.created, links_of(ext, run))
    assert protocol.response_body
    return json_response(protocol, dumps(protocol.response_body(fold, context)), run.id)


def attach(
    ext: Extension,
    log: Log,
    after: int,
    protocol: WireProtocol,
    options: Options,
    slot: ConnectionSlot,
    *,
    starts: bool,
) -> tuple[Delivery, Tail]:
    """Open this request's connection to a log.

    :param starts: The request starts a run; one that only reads a run can be repeated.
    """
    encoder = encoder_for(ext, log.run, protocol, options)
    returns = not (starts and protocol.stopped_by_leaving)
    return open_connection(ext, log, after, protocol, encoder, slot, returns=returns)


def encoder_for(ext: Extension, run: Run, protocol: WireProtocol, options: Options) -> Encoder:
    """An encoder; one for all readers of a run, unless the protocol is stateful."""
    links = links_of(ext, run)
    context = EncoderContext(run.id, run.provider, run.created, links, options)
    if protocol.stateful:
        return protocol.encoder(context)
    key = (protocol.name, run.id, links["events"])
    return ext.process.encoders.get(key, lambda: protocol.encoder(context))
