"""CORS headers, and the refusal of cross-site requests that carry credentials.

CORS only restricts what a page may *read*. A request that starts a run has its effect before anything is read,
so one that carries the user's cookies is refused by where it comes from.
"""

from __future__ import annotations

import re
import typing as t
from urllib.parse import urlsplit

from flask import Request
from flask import Response

from flask_aistream.errors import AccessDenied
from flask_aistream.protocols.table import client_headers
from flask_aistream.web.config import Settings

ALLOWED_HEADERS = "Content-Type, Authorization, Last-Event-ID, Idempotency-Key"
EXPOSED_HEADERS = ", ".join(["Retry-After", "AIStream-Run", *sorted(client_headers())])
ALLOWED_METHODS = "GET, POST"
PREFLIGHT_SECONDS = 600
SITES = {"same-origin": False, "none": False, "cross-site": True}
"""Values of ``Sec-Fetch-Site`` that decide whether a request is cross-site. ``same-site`` does not."""

HEADER_NAME = re.compile(r"[A-Za-z0-9-]+")


def allow(settings: Settings, request: Request, response: Response) -> Response:
    """Set the CORS headers, replacing those of another layer, so that none is sent twice."""
    if settings.cors_origins is not None:
        response.headers.update(headers_for(settings.cors_origins, request))
        if response.vary:
            response.vary.add("Origin")
        else:
            response.headers["Vary"] = "Origin"
    return response


def headers_for(origins: t.Any, request: Request) -> dict[str, str]:
    """What the requesting page may do; nothing if its origin is not allowed."""
    origin = request.headers.get("Origin")
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
    """Refuse a request that a page of another site made the browser send with the user's cookies.

    :raises AccessDenied: It carries cookies, and its origin is neither ours nor allowed.
    """
    if request.headers.get("Cookie") and is_cross_site(settings, request):
        raise AccessDenied(
            "This request carries cookies and comes from another site. Send it without credentials, "
            "or add the page's origin to AISTREAM_CORS_ORIGINS."
        )


def is_cross_site(settings: Settings, request: Request) -> bool:
    """Whether a page of another site, whose origin is not allowed, made the browser send this."""
    origin = request.headers.get("Origin")
    if origin in listed(settings):
        return False
    # Set by the browser; a page cannot forge it. Images, links and navigations send no Origin, and behind a
    # proxy that ends TLS our origin looks like http where theirs is https.
    site = request.headers.get("Sec-Fetch-Site")
    if site in SITES:
        return SITES[site]
    return origin is not None and urlsplit(origin).netloc != request.host


def listed(settings: Settings) -> t.Collection[str]:
    origins = settings.cors_origins
    return origins if isinstance(origins, (list, tuple, set, frozenset)) else ()
