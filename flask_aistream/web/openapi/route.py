"""``GET <prefix>/openapi.json``: the description of the blueprint's routes."""

from __future__ import annotations

from flask import Blueprint
from flask import Response
from flask import abort
from flask import current_app
from flask import jsonify
from flask import request

from flask_aistream.protocols.native import NATIVE
from flask_aistream.web import access
from flask_aistream.web.extension import extension
from flask_aistream.web.openapi.document import document_of
from flask_aistream.web.registry import ProviderRegistry
from flask_aistream.web.routes import view_wrapper


def add(blueprint: Blueprint, registry: ProviderRegistry) -> None:
    """Put the route on a blueprint."""
    wrap = view_wrapper(registry, NATIVE)
    blueprint.add_url_rule("/openapi.json", "openapi", wrap(lambda: describe(registry)))


def describe(registry: ProviderRegistry) -> Response:
    """The description, which names the providers and the limits: for callers that may list them.

    404 unless the application is in debug mode or ``AISTREAM_OPENAPI`` is set.
    """
    settings = extension().settings
    wanted = current_app.debug if settings.openapi is None else settings.openapi
    if not wanted:
        abort(404)
    access.authorize_action(registry, "list", None)
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    name, root = request.blueprint or "", request.script_root or "/"
    return jsonify(document_of(app, settings, registry, name, root))
