"""Routes of the AI SDK's ``useChat`` besides its POST: reconnect to a chat's run, and stop it."""

from __future__ import annotations

from flask import Blueprint
from flask import Response
from flask import jsonify
from flask import request

from flask_aistream.core.cursor import BEGINNING
from flask_aistream.errors import RunNotFound
from flask_aistream.protocols.ai_sdk import AI_SDK
from flask_aistream.stores.base import Log
from flask_aistream.web import access
from flask_aistream.web import cors
from flask_aistream.web import names
from flask_aistream.web import stream
from flask_aistream.web.extension import Extension
from flask_aistream.web.extension import extension
from flask_aistream.web.registry import ProviderRegistry
from flask_aistream.web.responses import head_response
from flask_aistream.web.responses import no_content
from flask_aistream.web.routes import view_wrapper


def add(blueprint: Blueprint, registry: ProviderRegistry) -> None:
    """Put the routes on a blueprint."""
    wrap = view_wrapper(registry, AI_SDK, AI_SDK)
    chat = f"{AI_SDK.path}/<path:chat_id>"
    blueprint.add_url_rule(
        f"{chat}/stream", "ai-sdk-reconnect", wrap(lambda **names: reconnect(registry, **names))
    )
    blueprint.add_url_rule(
        f"{chat}/stop",
        "ai-sdk-stop",
        wrap(lambda **names: stop(registry, **names)),
        methods=["POST"],
    )


def reconnect(registry: ProviderRegistry, provider: str, chat_id: str) -> Response:
    """The chat's latest run from its start; 204 if the chat has none, or it was read to its end.

    ``useChat`` asks at every mount, also for a new chat, and shows a 404 as an error.
    """
    ext, options = extension(), AI_SDK.options(request.args)
    log = latest(ext, registry, provider, chat_id, "read")
    if log is None:
        return no_content()
    if request.method == "HEAD":
        return head_response(AI_SDK)
    with stream.admit(ext, log.run.owner, resumes=True) as slot:
        return stream.follow(ext, log, BEGINNING, AI_SDK, options, slot)


def stop(registry: ProviderRegistry, provider: str, chat_id: str) -> Response:
    """Stop the chat's latest run, and answer whether this request ended it."""
    ext = extension()
    log = latest(ext, registry, provider, chat_id, "stop")
    stopped = log is not None and ext.process.runner.stop(log, "client")
    return jsonify(run=log.run.id if log else None, stopped=stopped)


def latest(
    ext: Extension, registry: ProviderRegistry, provider: str, chat_id: str, action: str
) -> Log | None:
    """The log of the caller's latest run in a chat; ``None`` if there is none, or it was read to its end.

    :raises AccessDenied: The request is cross-site and carries credentials, or ``@ai.authorize`` refuses it.
    """
    cors.refuse_cross_site(ext.settings, request)
    found, caller = registry.find(provider), access.caller_of(registry.identify)
    store = ext.process.store
    visitor = names.visitor_of(request) if caller is None else None
    name = names.scoped_chat(registry, caller, chat_id, visitor)
    run_id = store.latest(name) if name is not None else None
    try:
        log = None if run_id is None else store.open(run_id)
    except RunNotFound:  # Expired meanwhile.
        return None
    if log is None or log.run.provider != found.name:
        return None
    access.authorize_action(registry, action, log.run)
    return log
