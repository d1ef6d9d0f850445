"""The native routes: start, read and stop runs; health; the client's script."""

from __future__ import annotations

import typing as t
from collections.abc import Callable

from flask import Blueprint
from flask import Response
from flask import abort
from flask import jsonify
from flask import request

from flask_aistream.core.cursor import BEGINNING
from flask_aistream.core.cursor import Cursor
from flask_aistream.errors import RunNotFound
from flask_aistream.protocols.base import ParsedRequest
from flask_aistream.protocols.base import WireProtocol
from flask_aistream.protocols.native import NATIVE
from flask_aistream.protocols.table import PROTOCOLS
from flask_aistream.protocols.wire import dumps
from flask_aistream.runs.ended import fold_of
from flask_aistream.runs.ended import folded
from flask_aistream.stores.base import Log
from flask_aistream.web import access
from flask_aistream.web import client_files
from flask_aistream.web import cors
from flask_aistream.web import names
from flask_aistream.web import parse
from flask_aistream.web import previous
from flask_aistream.web import stream
from flask_aistream.web.extension import Extension
from flask_aistream.web.extension import current_request
from flask_aistream.web.extension import extension
from flask_aistream.web.links import links_of
from flask_aistream.web.registry import ProviderRegistry
from flask_aistream.web.registry import RegisteredProvider
from flask_aistream.web.responses import View
from flask_aistream.web.responses import head_response
from flask_aistream.web.responses import json_response
from flask_aistream.web.responses import no_content
from flask_aistream.web.responses import with_decorators
from flask_aistream.web.responses import with_error_responses
from flask_aistream.web.start import start
from flask_aistream.web.start import starter_of


def add(blueprint: Blueprint, registry: ProviderRegistry) -> None:
    """Put the routes on a blueprint."""
    for protocol in PROTOCOLS.values():
        endpoint = "start" if protocol is NATIVE else protocol.name
        view = provider_view(registry, protocol)
        blueprint.add_url_rule(protocol.path, endpoint, view, methods=list(protocol.methods))
    native = view_wrapper(registry, NATIVE)
    run = "/runs/<run_id>"
    blueprint.add_url_rule(run, "run", native(lambda run_id: show(registry, run_id)))
    blueprint.add_url_rule(
        f"{run}/events",
        "events",
        view_wrapper(registry, NATIVE, NATIVE)(lambda run_id: events(registry, run_id, NATIVE)),
    )
    blueprint.add_url_rule(
        f"{run}/<protocol>", "events-in", lambda **names: events_in(registry, **names)
    )
    blueprint.add_url_rule(
        f"{run}/stop", "stop", native(lambda run_id: stop(registry, run_id)), methods=["POST"]
    )
    blueprint.add_url_rule(
        NATIVE.path,
        "stop-by-key",
        native(lambda provider: stop_by_key(registry, provider)),
        methods=["DELETE"],
    )
    blueprint.add_url_rule("/health", "health", health)
    client_files.add(blueprint)


def view_wrapper(
    registry: ProviderRegistry, protocol: WireProtocol, *served: WireProtocol
) -> Callable[[View], View]:
    """A decorator for the views of one protocol: applies the decorators of the ``AIStream``, and turns exceptions into
    the protocol's errors.

    :param served: The views exist if one of these is served; without any, always.
    """

    def wrap(view: View) -> View:
        decorated = with_decorators(view, registry.decorators)

        def view_if_served(**names: t.Any) -> Response:
            refuse_unserved(served)
            return decorated(**names)

        return with_error_responses(protocol)(view_if_served if served else decorated)

    return wrap


def refuse_unserved(protocols: t.Sequence[WireProtocol]) -> None:
    """
    :raises NotFound: ``AISTREAM_PROTOCOLS`` names none of them.
    """
    names = extension().settings.protocols
    if names is not None and not any(protocol.name in names for protocol in protocols):
        abort(404, f"This server does not serve the protocol {protocols[0].name!r}.")


def provider_view(registry: ProviderRegistry, protocol: WireProtocol) -> View:
    """The view that starts and resumes a provider's runs in one protocol."""

    @view_wrapper(registry, protocol, protocol)
    def view(provider: str | None = None) -> Response:
        ext, request = extension(), current_request()
        cors.refuse_cross_site(ext.settings, request)
        found = registry.find(provider) if provider else None
        if request.method == "HEAD":
            return head_response(protocol)
        if parse.is_prefetch(request):
            return no_content()
        parsed = parse.read_request(protocol, request, ext.settings, ext.process.bodies)
        found = found or registry.find(parsed.provider or "")
        return start_or_resume(ext, registry, protocol, found, parsed)

    return view


def start_or_resume(
    ext: Extension,
    registry: ProviderRegistry,
    protocol: WireProtocol,
    provider: RegisteredProvider,
    parsed: ParsedRequest,
) -> Response:
    """Answer a request to a provider's URL: with the run that its cursor names, or with a new one."""
    caller = access.caller_of(registry.identify)
    options = {**registry.rendering, **parsed.options}
    cursor = parse.cursor_of(parsed.cursor)
    if cursor is not None:
        log = access.open_log(ext.process.store, registry, cursor.run, caller)
        access.authorize_action(registry, "read", log.run)
        return stream.resume(ext, log, cursor, protocol, options)
    cors.refuse_navigation(current_request())
    parsed = previous.continued(ext, registry, parsed, caller)
    # Before the start: a run without a reader would still be billed.
    with stream.admit(ext, caller) as slot:
        starter = starter_of(ext, registry, parsed, caller)
        log = start(ext, registry, provider, parsed, starter, protocol)
        if parsed.stream or protocol.response_body is None:
            return stream.follow(ext, log, BEGINNING, protocol, options, slot, commit=True)
        if not parsed.background:
            return stream.complete_response(ext, log, protocol, options, slot)
    slot.release()
    return stream.snapshot_response(ext, log, fold_of(log), protocol)


def show(registry: ProviderRegistry, run_id: str) -> Response:
    """A run so far, as one JSON object."""
    ext = extension()
    log = open_log(ext, registry, run_id, "read")
    fold, last = folded(log)
    body = {
        "run": run_id,
        "provider": log.run.provider,
        "created": log.run.created,
        "cursor": str(Cursor(run_id, last)),
        **links_of(ext, log.run),
        **fold.to_json(),
    }
    return json_response(NATIVE, dumps(body), run_id)


def events(registry: ProviderRegistry, run_id: str, protocol: WireProtocol) -> Response:
    """A run's events after the request's cursor, or all of them."""
    ext = extension()
    log = open_log(ext, registry, run_id, "read")
    if request.method == "HEAD":
        return head_response(protocol)
    cursor = parse.read_cursor(request) or Cursor(run_id, BEGINNING)
    if cursor.run != run_id:
        raise RunNotFound(cursor.run)
    options = {**registry.rendering, **protocol.options(request.args)}
    return stream.resume(ext, log, cursor, protocol, options)


def events_in(registry: ProviderRegistry, run_id: str, protocol: str) -> Response:
    """As :func:`events`, in any protocol, also one that the run was not started in."""
    wire = PROTOCOLS.get(protocol)
    if wire is None:
        abort(404)
    return view_wrapper(registry, wire, wire)(lambda: events(registry, run_id, wire))()


def stop(registry: ProviderRegistry, run_id: str) -> Response:
    """Stop a run, and return the run so far as one JSON object."""
    ext = extension()
    log = open_log(ext, registry, run_id, "stop")
    stopped = ext.process.runner.stop(log, "client")
    fold, last = folded(log)
    body = {"run": run_id, "stopped": stopped, "events": last + 1, **fold.to_json()}
    return json_response(NATIVE, dumps(body), run_id)


def stop_by_key(registry: ProviderRegistry, name: str) -> Response:
    """Stop the run that an idempotency key started, for a client that never received the run's id.

    :raises RunNotFound: No run of this caller has the key.
    """
    ext, request = extension(), current_request()
    cors.refuse_cross_site(ext.settings, request)
    key = parse.checked_key(request.headers.get("Idempotency-Key")) or ""
    provider, caller = registry.find(name), access.caller_of(registry.identify)
    visitor = names.visitor_of(request) if caller is None else None
    stored = names.scoped(registry, provider, caller, key, visitor) if key else None
    log = ext.process.store.started(stored) if stored else None
    if log is None:
        raise RunNotFound(key)
    return stop(registry, log.run.id)


def health() -> Response:
    """Readiness: 200, or 503 while the worker drains."""
    runner = extension().process.runner
    response = jsonify(status="draining" if runner.leaving else "ok")
    response.status_code = 503 if runner.leaving else 200
    return response


def open_log(ext: Extension, registry: ProviderRegistry, run_id: str, action: str) -> Log:
    """The log of a run that the caller may read, or stop.

    :raises AccessDenied: The request is cross-site and carries credentials, or ``@ai.authorize`` refuses it.
    :raises RunNotFound: It does not exist, or belongs to another owner.
    """
    cors.refuse_cross_site(ext.settings, current_request())
    log = access.open_log(ext.process.store, registry, run_id, access.caller_of(registry.identify))
    access.authorize_action(registry, action, log.run)
    return log
