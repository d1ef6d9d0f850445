"""CORS headers, and the refusal of cross-site requests that carry credentials.

CORS only restricts what a page may *read*. A request that starts a run has its effect before anything is read,
so one that carries the user's credentials is refused by where it comes from.
"""

from __future__ import annotations

import logging
import re
import typing as t
from urllib.parse import urlsplit

from flask import Flask
from flask import Request
from flask import Response

from flask_aistream.errors import AccessDenied
from flask_aistream.protocols.table import client_headers
from flask_aistream.web.config import Settings

logger = logging.getLogger("flask_aistream")

ALLOWED_HEADERS = "Content-Type, Authorization, Last-Event-ID, Idempotency-Key"
EXPOSED_HEADERS = ", ".join(["Retry-After", "AIStream-Run", *sorted(client_headers())])
ALLOWED_METHODS = "GET, POST, DELETE"
PREFLIGHT_SECONDS = 600

VISITOR_COOKIE = "aistream_visitor"
"""Binds short chat ids of anonymous visitors (see ``names``); grants no access to anything else."""

BROWSER_SCHEMES = ("basic", "digest", "negotiate", "ntlm")
"""HTTP authentication that a browser repeats by itself."""

STREAM_KINDS = ("text/event-stream", "json")
"""Media types in ``Accept`` that scripts request. Links and images do not."""

HEADER_NAME = re.compile(r"[A-Za-z0-9-]+")


def allow(settings: Settings, request: Request, response: Response) -> Response:
    """Set the CORS headers, replacing those of another layer, so that none is sent twice."""
    if settings.cors_origins is None:
        return response
    present = {name.lower() for name, _ in response.headers}
    headers = headers_for(settings.cors_origins, request)
    if "vary" in present:
        response.vary.add("Origin")
    else:
        headers["Vary"] = "Origin"
    for name, value in headers.items():
        # Setting a header searches all of them; adding one that is absent does not.
        (response.headers.set if name.lower() in present else response.headers.add)(name, value)
    return response


def warn_of_flask_cors(app: Flask, settings: Settings) -> None:
    """Log that flask-cors has another policy than we: it leaves responses alone that have CORS headers."""
    if is_beside_flask_cors(app, settings):
        logger.warning(
            "flask-cors does not apply to the routes of AIStream, which any origin may read: AISTREAM_CORS_ORIGINS is "
            '`"*"`. Set it to the origins of your policy, or to None to leave the headers to flask-cors.'
        )


def is_beside_flask_cors(app: Flask, settings: Settings) -> bool:
    """Whether the application uses flask-cors, and our policy allows every origin."""
    hooks = app.after_request_funcs.get(None, ())
    modules = {str(getattr(hook, "__module__", "")) for hook in hooks}
    return settings.cors_origins == "*" and any(name.startswith("flask_cors") for name in modules)


def headers_for(origins: t.Any, request: Request) -> dict[str, str]:
    """What the requesting page may do; nothing if its origin is not allowed."""
    origin = request.environ.get("HTTP_ORIGIN")
    if origins == "*":
        headers = {"Access-Control-Allow-Origin": "*"}
    elif origin is not None and origin in origins:
        headers = {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Credentials": "true",
        }
    else:
        return {}
    headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
    if is_preflight(request):
        headers["Access-Control-Allow-Methods"] = ALLOWED_METHODS
        headers["Access-Control-Allow-Headers"] = allowed_headers(request)
        headers["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)
    return headers


def allowed_headers(request: Request) -> str:
    """Ours, and those that the preflight names: an allowed origin may send any header.

    SDKs send a dozen about themselves, htmx some about the page.
    """
    asked = request.headers.get("Access-Control-Request-Headers", "")
    return ", ".join(dict.fromkeys([ALLOWED_HEADERS, *HEADER_NAME.findall(asked)]))


def is_preflight(request: Request) -> bool:
    return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers


def refuse_cross_site(settings: Settings, request: Request) -> None:
    """Refuse a request that a page of another site made the browser send with the user's credentials.

    :raises AccessDenied: It carries credentials, and its origin is neither ours nor allowed.
    """
    if has_credentials(request) and is_cross_site(settings, request):
        raise AccessDenied(
            "This request carries credentials and comes from another site. Send it without credentials, "
            "or add the page's origin to AISTREAM_CORS_ORIGINS."
        )


def refuse_navigation(request: Request) -> None:
    """Refuse a start that looks like a link or picture of another site: a browser's GET with credentials, which
    neither accepts a stream nor has a header with its origin. Over plain HTTP browsers send no ``Sec-Fetch-Site``.

    :raises AccessDenied: It is such a request.
    """
    if (
        request.method == "GET"
        and has_credentials(request)
        and not any(map(request.headers.get, ("Sec-Fetch-Site", "Origin", "Referer")))
        and "Mozilla/" in request.headers.get("User-Agent", "")
        and not any(kind in request.headers.get("Accept", "") for kind in STREAM_KINDS)
    ):
        raise AccessDenied(
            "This request carries credentials and looks like a link that another site could have made. "
            "Start a run by POST, or with Accept: text/event-stream."
        )


def has_credentials(request: Request) -> bool:
    """Whether the browser may have added credentials by itself: cookies but the visitor's, or HTTP authentication.
    A page has to add ``Bearer`` tokens itself."""
    environ = request.environ
    if environ.get("HTTP_AUTHORIZATION", "").partition(" ")[0].lower() in BROWSER_SCHEMES:
        return True
    # Parsing cookies where there are none takes longer than all other checks.
    return "HTTP_COOKIE" in environ and bool(request.cookies.keys() - {VISITOR_COOKIE})


def is_cross_site(settings: Settings, request: Request) -> bool:
    """Whether a page of another site, whose origin is not allowed, made the browser send this."""
    origin = request.headers.get("Origin")
    if origin in listed(settings):
        return False
    # Set by the browser; a page cannot forge it. Behind a proxy that ends TLS our own origin looks like http
    # where theirs is https, so it decides before Origin does.
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in ("same-origin", "none")
    source = origin or request.headers.get("Referer")
    return source is not None and host_of(source) != request.host


def host_of(url: str) -> str | None:
    """Host and port of a URL; ``None`` if it is malformed."""
    try:
        return urlsplit(url).netloc or None
    except ValueError:
        return None


def listed(settings: Settings) -> t.Collection[str]:
    origins = settings.cors_origins
    return origins if isinstance(origins, (list, tuple, set, frozenset)) else ()
