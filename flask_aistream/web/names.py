"""Names that clients choose: who may find a run again by its chat id or its idempotency key.

An idempotency key belongs to one provider of one ``AIStream`` of one application, and to its owner; a chat id to its
owner, whichever provider answers. A name of an anonymous
caller that can be guessed would be a shared password, so it belongs to all anonymous callers only if it has at
least ``UNGUESSABLE`` characters. A shorter one belongs to one browser, by a signed cookie, and without that cookie
to no caller: the run cannot be found by it.
"""

from __future__ import annotations

import json
import logging
import secrets
import typing as t

from flask import Flask
from flask import Request
from flask import Response
from flask import current_app
from flask import g
from itsdangerous import BadSignature
from itsdangerous import URLSafeSerializer

from flask_aistream.core.conversation import UNGUESSABLE
from flask_aistream.web.cors import VISITOR_COOKIE
from flask_aistream.web.cors import host_of
from flask_aistream.web.extension import Extension
from flask_aistream.web.extension import current_request
from flask_aistream.web.extension import extension
from flask_aistream.web.registry import ProviderRegistry
from flask_aistream.web.registry import RegisteredProvider

logger = logging.getLogger("flask_aistream")

SALT = "flask_aistream.visitor"

CODE = "code"
"""Holder of short names that the application's own code chose; no client can use them."""


def scoped(
    registry: ProviderRegistry,
    provider: RegisteredProvider | None,
    owner: str | None,
    name: str,
    visitor: str | None,
) -> str | None:
    """An idempotency key or, without a provider, a chat id as the store knows it; ``None`` if it binds to nothing.

    :param visitor: The browser, or ``CODE``, that a short name of an anonymous caller belongs to.
    """
    if owner is not None:
        holder = ["owner", owner]
    elif len(name) >= UNGUESSABLE:
        holder = ["anyone"]
    elif visitor is not None:
        holder = ["visitor", visitor]
    else:
        return None
    # JSON, since any character may be in a name: joined by one of them, two different names could be equal.
    scope = provider.name if provider is not None else None
    return json.dumps([extension().namespace, registry.name, scope, holder, name])


def scoped_chat(
    registry: ProviderRegistry, owner: str | None, chat: str, visitor: str | None
) -> str | None:
    """A chat id as the store knows it; ``None`` if it binds to nothing."""
    return scoped(registry, None, owner, chat, visitor)


def visitor_of(request: Request) -> str | None:
    """The browser that sent a request, by its signed cookie."""
    cookie = request.cookies.get(VISITOR_COOKIE)
    serializer = serializer_of(current_app)
    if not cookie or serializer is None:
        return None
    try:
        return f"cookie:{serializer.loads(cookie)}"
    except BadSignature:
        return None


def visitor_for_start(ext: Extension, request: Request, name: str | None) -> str | None:
    """The browser that a short name of an anonymous start is bound to. A page of our own origin gets a cookie if it
    has none; for other clients the name binds to nothing, which is logged once.

    :param name: The shortest name of the request.
    """
    if name is None or len(name) >= UNGUESSABLE:
        return None
    visitor = visitor_of(request)
    serializer = serializer_of(current_app)
    if visitor is None and serializer is not None and is_own_page(request):
        token = secrets.token_urlsafe(16)
        g.aistream_visitor = serializer.dumps(token)
        visitor = f"cookie:{token}"
    if visitor is None:
        ext.warn_once(
            f"An anonymous client sent a chat id or Idempotency-Key of fewer than {UNGUESSABLE} characters. "
            "Others could guess it, so the run cannot be found by it. Use longer ids or @ai.identify; pages of the "
            "application's own origin may use short ids if it has a SECRET_KEY."
        )
    return visitor


def set_visitor_cookie(response: Response) -> Response:
    """Send the cookie that :func:`visitor_for_start` made in this request."""
    cookie = g.pop("aistream_visitor", None)
    if cookie is not None:
        app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
        response.set_cookie(
            VISITOR_COOKIE,
            cookie,
            path=app.session_interface.get_cookie_path(app),
            secure=bool(app.config["SESSION_COOKIE_SECURE"]) or current_request().is_secure,
            httponly=True,
            samesite="Lax",
        )
    return response


def is_own_page(request: Request) -> bool:
    """Whether the browser's headers show that a page of this origin sent the request."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    source = request.headers.get("Origin") or request.headers.get("Referer")
    return source is not None and host_of(source) == request.host


def serializer_of(app: t.Any) -> URLSafeSerializer | None:
    """Signs the cookie; ``None`` without a ``SECRET_KEY``."""
    if not app.secret_key:
        return None
    # The last key signs, all of them verify.
    return URLSafeSerializer(
        [*(app.config.get("SECRET_KEY_FALLBACKS") or ()), app.secret_key], SALT
    )
