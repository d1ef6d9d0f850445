"""The rules of the playground, and who may use them.

The page is for whoever may use the providers, and shows the caller's own runs. Only an operator sees and stops those of
others. None of it exists where the playground is off.
"""

from __future__ import annotations

import hashlib
import typing as t
from functools import cache
from pathlib import Path

from flask import Blueprint
from flask import Flask
from flask import Response
from flask import abort
from flask import current_app
from flask import jsonify
from flask import request

from flask_aistream.errors import AccessDenied
from flask_aistream.errors import RegistrationError
from flask_aistream.errors import RunNotFound
from flask_aistream.protocols.native import NATIVE
from flask_aistream.web import access
from flask_aistream.web import cors
from flask_aistream.web.config import Settings
from flask_aistream.web.extension import Extension
from flask_aistream.web.extension import extension
from flask_aistream.web.playground.choices import choices_of
from flask_aistream.web.playground.live import visible_to
from flask_aistream.web.registry import ProviderRegistry
from flask_aistream.web.responses import View
from flask_aistream.web.routes import view_wrapper

PAGE = Path(__file__).with_name("page")

TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
"""Media types of the page's files; that of a module must not depend on the machine."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def add(blueprint: Blueprint, registry: ProviderRegistry) -> None:
    """Put the rules on a blueprint."""

    def rule(path: str, endpoint: str, view: View, **options: t.Any) -> None:
        wrapped = view_wrapper(registry, NATIVE)(only_if_on(view))
        blueprint.add_url_rule(f"/playground{path}", endpoint, wrapped, **options)

    api = "playground-api"
    # A redirect to a login page stays one, unlike in the answers for scripts.
    blueprint.add_url_rule("/playground", "playground", decorated(only_if_on(page), registry))
    rule("/<file>", "playground-file", page)
    rule("/api/choices", f"{api}-choices", lambda: choices(registry))
    rule("/api/runs", f"{api}-runs", lambda: runs(registry))
    rule(
        "/api/runs/<run_id>/stop",
        f"{api}-stop",
        lambda run_id: stop(registry, run_id),
        methods=["POST"],
    )


def refuse_without_operator(app: Flask, settings: Settings, registry: ProviderRegistry) -> None:
    """
    :raises RegistrationError: The playground is on outside of debug mode, and nobody is named who operates it.
    """
    if settings.playground and registry.operator is None and not app.debug:
        raise RegistrationError(
            "AISTREAM_PLAYGROUND is True outside of debug mode, so decorate a function with @ai.operator before "
            "app.register_blueprint(ai), which returns whether the caller may see and stop the runs of others."
        )


def only_if_on(view: View) -> View:
    def answer(**names: t.Any) -> Response:
        wanted = extension().settings.playground
        if not (current_app.debug if wanted is None else wanted):
            abort(404)
        return view(**names)

    return answer


def decorated(view: View, registry: ProviderRegistry) -> View:
    for decorator in registry.decorators:
        view = decorator(view)
    return view


def page(file: str = "index.html") -> Response:
    """A file of the page, which browsers revalidate: after an upgrade, no page mixes two versions."""
    content = page_files().get(file)
    if content is None:
        abort(404)
    response = Response(content, mimetype=TYPES[Path(file).suffix], headers=HEADERS)
    response.headers["Cache-Control"] = "no-cache"
    response.set_etag(hashlib.sha256(content).hexdigest()[:20])
    return t.cast(Response, response.make_conditional(request))


@cache
def page_files() -> dict[str, bytes]:
    """The files by name, read once a process."""
    return {path.name: path.read_bytes() for path in PAGE.iterdir() if path.suffix in TYPES}


def choices(registry: ProviderRegistry) -> Response:
    """The providers and protocols that the page offers, and what it may do."""
    ext = extension()
    operates = operator_or_lister(ext, registry)
    return jsonify({**choices_of(ext.settings, registry), "operator": operates})


def runs(registry: ProviderRegistry) -> Response:
    """The newest runs: of an operator's ``AIStream`` all of them, else those of the caller, and those that ``?run=``
    names and that the caller may read."""
    ext = extension()
    operates = operator_or_lister(ext, registry)
    visible = visible_to(
        access.namespace_of(registry),
        access.caller_of(registry.identify),
        operates,
        request.args.getlist("run"),
    )
    return jsonify({**ext.process.live_runs.listing(visible), "operator": operates})


def stop(registry: ProviderRegistry, run_id: str) -> Response:
    """Stop a run of any caller. Callers stop their own ones by the route of the run.

    :raises RunNotFound: There is no such run, or the caller is no operator.
    """
    ext = extension()
    refuse_other_sites(ext)
    if not access.is_operator(registry):
        raise RunNotFound(run_id)
    log = ext.process.store.open(run_id)
    if log.run.namespace != access.namespace_of(registry):
        raise RunNotFound(run_id)
    return jsonify(run=run_id, stopped=ext.process.runner.stop(log, "operator"))


def operator_or_lister(ext: Extension, registry: ProviderRegistry) -> bool:
    """Whether the caller is an operator.

    :raises AccessDenied: It is none, and ``@ai.authorize(actions=("list",))`` refuses it.
    """
    refuse_other_sites(ext)
    operates = access.is_operator(registry)
    if not operates:
        access.authorize_action(registry, "list", None)
    return operates


def refuse_other_sites(ext: Extension) -> None:
    """Refuse the pages of other sites, also those without cookies: an address on this machine is a credential, too.

    :raises AccessDenied: A page whose origin is neither ours nor listed sent the request.
    """
    if cors.is_cross_site(ext.settings, request):
        raise AccessDenied(
            "Only pages of this origin, or of one in AISTREAM_CORS_ORIGINS, may ask."
        )
