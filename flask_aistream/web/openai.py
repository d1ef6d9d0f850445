"""Routes of OpenAI's SDKs besides their POSTs: list models, and retrieve, cancel or delete a response."""

from __future__ import annotations

import time
import typing as t

from flask import Blueprint
from flask import Response
from flask import abort
from flask import jsonify
from flask import request

from flask_aistream.core.cursor import BEGINNING
from flask_aistream.errors import RequestError
from flask_aistream.errors import Unavailable
from flask_aistream.protocols.openai_chat import OPENAI_CHAT
from flask_aistream.protocols.openai_responses import OPENAI_RESPONSES
from flask_aistream.runs.ended import fold_of
from flask_aistream.stores.base import Log
from flask_aistream.web import access
from flask_aistream.web import cors
from flask_aistream.web import routes
from flask_aistream.web import stream
from flask_aistream.web.extension import Extension
from flask_aistream.web.extension import extension
from flask_aistream.web.previous import stored_log
from flask_aistream.web.registry import ProviderRegistry
from flask_aistream.web.responses import head_response

DELIVERY_SECONDS = 5.0
"""Longest time to wait until receivers have got the end of a run that is to be deleted."""

DELIVERY_POLL_SECONDS = 0.02


def add(blueprint: Blueprint, registry: ProviderRegistry) -> None:
    """Put the routes on a blueprint."""
    wrap = routes.view_wrapper(registry, OPENAI_RESPONSES, OPENAI_RESPONSES)
    wrap_models = routes.view_wrapper(registry, OPENAI_RESPONSES, OPENAI_RESPONSES, OPENAI_CHAT)
    one = f"{OPENAI_RESPONSES.path}/<response_id>"
    blueprint.add_url_rule("/v1/models", "openai-models", wrap_models(lambda: models(registry)))
    blueprint.add_url_rule(
        "/v1/models/<name>", "openai-model", wrap_models(lambda name: model(registry, name))
    )
    blueprint.add_url_rule(
        one, "openai-response", wrap(lambda response_id: retrieve(registry, response_id))
    )
    blueprint.add_url_rule(
        one,
        "openai-delete",
        wrap(lambda response_id: delete(registry, response_id)),
        methods=["DELETE"],
    )
    blueprint.add_url_rule(
        f"{OPENAI_RESPONSES.path}/compact", "openai-compact", wrap(not_offered), methods=["POST"]
    )
    blueprint.add_url_rule(
        f"{one}/cancel",
        "openai-cancel",
        wrap(lambda response_id: cancel(registry, response_id)),
        methods=["POST"],
    )


def models(registry: ProviderRegistry) -> Response:
    """The providers, each as the model of its name."""
    cors.refuse_cross_site(extension().settings, request)
    access.authorize_action(registry, "list", None)
    return jsonify(object="list", data=[model_object(name) for name in registry.names])


def model(registry: ProviderRegistry, name: str) -> Response:
    cors.refuse_cross_site(extension().settings, request)
    access.authorize_action(registry, "list", None)
    return jsonify(model_object(registry.find(name).name))


def model_object(name: str) -> dict[str, t.Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "flask_aistream"}


def retrieve(registry: ProviderRegistry, response_id: str) -> Response:
    """A response so far; with ``?stream=true``, its events after ``starting_after``."""
    ext = extension()
    log = open_log(ext, registry, response_id, "read")
    if request.args.get("stream") not in ("true", "1"):
        return response_object(ext, log)
    options = OPENAI_RESPONSES.options(request.args)
    if request.method == "HEAD":
        return head_response(OPENAI_RESPONSES)
    with stream.admit(ext, log.run.owner, resumes=True) as slot:
        return stream.follow(ext, log, BEGINNING, OPENAI_RESPONSES, options, slot)


def cancel(registry: ProviderRegistry, response_id: str) -> Response:
    """Stop a response, and answer with its state."""
    ext = extension()
    log = open_log(ext, registry, response_id, "stop")
    ext.process.runner.stop(log, "client")
    return response_object(ext, log)


def delete(registry: ProviderRegistry, response_id: str) -> Response:
    """Stop a response, and drop its run once its end is delivered.

    :raises Unavailable: Its end could not be delivered within ``DELIVERY_SECONDS``.
    """
    ext = extension()
    log = open_log(ext, registry, response_id, "stop")
    ext.process.runner.stop(log, "client")
    deadline = time.monotonic() + DELIVERY_SECONDS
    while not ext.process.store.drop(log.run.id):
        if time.monotonic() > deadline:
            raise Unavailable("The end of this response is still being delivered. Try again.")
        time.sleep(DELIVERY_POLL_SECONDS)
    return jsonify(id=response_id, object="response", deleted=True)


def not_offered() -> t.NoReturn:
    abort(404, "This server does not compact conversations.")


def response_object(ext: Extension, log: Log) -> Response:
    return stream.snapshot_response(ext, log, fold_of(log), OPENAI_RESPONSES)


def open_log(ext: Extension, registry: ProviderRegistry, response_id: str, action: str) -> Log:
    """The log of a response that the caller may read. Any run has a response id: ``resp_`` + its id.

    :raises RequestError: It does not exist, belongs to another owner, or was started with ``store: false``.
    """
    cors.refuse_cross_site(ext.settings, request)
    log = stored_log(ext, registry, response_id, access.caller_of(registry.identify))
    if log is None:
        raise RequestError(
            f"Response with id {response_id[:200]!r} not found.", "response_not_found", 404
        )
    access.authorize_action(registry, action, log.run)
    return log
