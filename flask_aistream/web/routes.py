"""Every route below the blueprint's prefix."""

from __future__ import annotations

import typing as t

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
from flask_aistream.web import ai_sdk
from flask_aistream.web import cors
from flask_aistream.web import openai
from flask_aistream.web import parse
from flask_aistream.web import start
from flask_aistream.web import stream
from flask_aistream.web.extension import current_request
from flask_aistream.web.extension import extension
from flask_aistream.web.registry import RegisteredProvider
from flask_aistream.web.responses import answering
from flask_aistream.web.responses import head_response
from flask_aistream.web.responses import json_response

if t.TYPE_CHECKING:
    from flask_aistream.web.blueprint import AIStream


def add(ai: AIStream) -> None:
    """Put the routes on a blueprint."""
    for protocol in PROTOCOLS.values():
        endpoint = "start" if protocol is NATIVE else protocol.name
        view = provider_view(ai, protocol)
        ai.add_url_rule(protocol.path, endpoint, view, methods=list(protocol.methods))
    ai_sdk.add(ai)
    openai.add(ai)
    native = answering(NATIVE)
    ai.add_url_rule("/runs/<run_id>", "run", native(lambda run_id: show(ai, run_id)))
    ai.add_url_rule("/runs/<run_id>/events", "events", native(lambda run_id: events(ai, run_id)))
    ai.add_url_rule(
        "/runs/<run_id>/<protocol>", "events-in", lambda **names: events_in(ai, **names)
    )
    ai.add_url_rule(
        "/runs/<run_id>/stop", "stop", native(lambda run_id: stop(ai, run_id)), methods=["POST"]
    )
    ai.add_url_rule("/health", "health", health)
    # A rule of its own: without a prefix, the application's /static/<path> would come first.
    ai.add_url_rule("/static/aistream.js", "client", lambda: ai.send_static_file("aistream.js"))


def provider_view(ai: AIStream, protocol: WireProtocol) -> t.Callable[..., Response]:
    """The view that starts runs of a provider in one dialect."""

    @answering(protocol)
    def view(provider: str | None = None) -> Response:
        settings = extension().settings
        request = current_request()
        cors.refuse_cross_site(settings, request)
        entry = ai.entry(provider) if provider else None
        if request.method == "HEAD":
            return head_response(protocol)
        if parse.is_prefetch(request):
            return Response(status=204)
        parsed = parse.read_ask(protocol, request, settings)
        return start_or_resume(ai, protocol, entry or ai.entry(parsed.provider or ""), parsed)

    return view


def start_or_resume(
    ai: AIStream, protocol: WireProtocol, entry: RegisteredProvider, parsed: ParsedRequest
) -> Response:
    """What a provider's own URL does."""
    request = current_request()
    caller = access.name_of(ai.identify_caller)
    options = {**ai.rendering, **parsed.options, **protocol.options(request.args)}
    cursor = parse.cursor_of(request, parsed)
    if cursor is not None:
        log = access.open_log(extension().process.store, cursor.run, caller)
        return stream.resume(log, cursor, protocol, options)
    extension().process.connections.check(caller)  # Before anything is started for nobody.
    log = start.start(ai, entry, parsed, caller)
    if parsed.stream or protocol.whole is None:
        return stream.follow(log, BEGINNING, protocol, options, commit=True)
    if parsed.background:
        return stream.whole_response(log, fold_of(log), protocol)
    return stream.answer(log, protocol, options)


def show(ai: AIStream, run_id: str) -> Response:
    """A run so far, as one JSON object."""
    log = open_log(ai, run_id)
    fold, last = folded(log)
    body = {
        "run": run_id,
        "provider": log.run.provider,
        "created": log.run.created,
        "cursor": str(Cursor(run_id, last)),
        **stream.links_of(log.run),
        **fold.to_json(),
    }
    return json_response(NATIVE, dumps(body), run_id)


def events(ai: AIStream, run_id: str, protocol: WireProtocol = NATIVE) -> Response:
    """A run from a cursor on."""
    log = open_log(ai, run_id)
    if request.method == "HEAD":
        return head_response(protocol)
    asked = ParsedRequest([], cursor=request.args.get("last_event_id"))
    cursor = parse.cursor_of(request, asked) or Cursor(run_id, BEGINNING)
    if cursor.run != run_id:
        raise RunNotFound(cursor.run)
    return stream.resume(log, cursor, protocol, {**ai.rendering, **protocol.options(request.args)})


def events_in(ai: AIStream, run_id: str, protocol: str) -> Response:
    """A run in any protocol, whichever it was started in."""
    wire = PROTOCOLS.get(protocol)
    if wire is None:
        abort(404)
    return answering(wire)(lambda: events(ai, run_id, wire))()


def stop(ai: AIStream, run_id: str) -> Response:
    """End a run, and say what was really stopped."""
    log = open_log(ai, run_id)
    stopped = extension().process.runner.stop(log, "client")
    fold, last = folded(log)
    body = {"run": run_id, "stopped": stopped, "events": last + 1, **fold.to_json()}
    return json_response(NATIVE, dumps(body), run_id)


def health() -> Response:
    """Whether new runs are to be brought here: 200, or 503 once the worker leaves."""
    runner = extension().process.runner
    response = jsonify(status="draining" if runner.leaving else "ok", runs=runner.count)
    response.status_code = 503 if runner.leaving else 200
    response.headers["Cache-Control"] = "no-store"
    return response


def open_log(ai: AIStream, run_id: str) -> Log:
    """The log of a run, if the caller may see it."""
    cors.refuse_cross_site(extension().settings, request)
    caller = access.name_of(ai.identify_caller)
    return access.open_log(extension().process.store, run_id, caller)
