"""Which pages of other origins may read us, and the refusal of those that may not but send cookies.

CORS only tells browsers what a page may *read*. A request that starts a run has done its harm before
anything is read, so one that carries cookies is refused by where it comes from.
"""

from __future__ import annotations

import re
import typing as t
from urllib.parse import urlsplit

from flask import Request
from flask import Response

from flask_aistream.errors import AccessDenied
from flask_aistream.web.config import Settings

ALLOWED_HEADERS = "Content-Type, Authorization, Last-Event-ID, Idempotency-Key"
EXPOSED_HEADERS = "Retry-After, AIStream-Run"
ALLOWED_METHODS = "GET, POST"
PREFLIGHT_SECONDS = 600
SITES = {"same-origin": False, "none": False, "cross-site": True}
"""Values of ``Sec-Fetch-Site`` that settle where a request comes from. ``same-site`` does not."""

HEADER_NAME = re.compile(r"[A-Za-z0-9-]+")


def allow(settings: Settings, request: Request, response: Response) -> Response:
    """Add the CORS headers. They are set, not added to, so a second layer cannot double them."""
    if settings.cors_origins is None:
        return response
    there = {name.lower() for name, _ in response.headers}
    headers = headers_for(settings.cors_origins, request)
    if "vary" in there:
        response.vary.add("Origin")
    else:  # Nearly always, and a sixth of the cost.
        headers["Vary"] = "Origin"
    for name, value in headers.items():
        # To set one is to look through all of them.
        (response.headers.set if name.lower() in there else response.headers.add)(name, value)
    return response


def headers_for(origins: t.Any, request: Request) -> dict[str, str]:
    """What this request's page may do; nothing where its origin is not on the list."""
    origin = request.environ.get("HTTP_ORIGIN")
    if origins == "*":
        headers = {"Access-Control-Allow-Origin": "*"}
    elif origin in origins:
        headers = {
            "Access-Control-Allow-Origin": t.cast(str, origin),
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
    """Ours, and any that are asked for: SDKs send a dozen about themselves, htmx some about the page.

    Whoever may ask at all may say what it likes.
    """
    asked = request.headers.get("Access-Control-Request-Headers", "")
    return ", ".join(dict.fromkeys([ALLOWED_HEADERS, *HEADER_NAME.findall(asked)]))


def is_preflight(request: Request) -> bool:
    return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers


def refuse_cross_site(settings: Settings, request: Request) -> None:
    """Refuse what another site makes a browser send with the user's cookies.

    :raises AccessDenied: The request carries cookies, and its origin is neither ours nor on the list.
    """
    if request.headers.get("Cookie") and comes_from_elsewhere(settings, request):
        raise AccessDenied(
            "This request carries cookies and comes from another site. Send it without credentials, "
            "or add the page's origin to AISTREAM_CORS_ORIGINS."
        )


def comes_from_elsewhere(settings: Settings, request: Request) -> bool:
    """Whether a page of another site, which is not on the list, made a browser send this."""
    origin = request.headers.get("Origin")
    if origin in listed(settings):
        return False
    # What the browser itself says; a page cannot forge it. Images, links and top-level navigation send
    # no Origin, and behind a proxy that ends TLS ours looks like http where theirs is https.
    site = request.headers.get("Sec-Fetch-Site")
    if site in SITES:
        return SITES[site]
    return origin is not None and urlsplit(origin).netloc != request.host


def listed(settings: Settings) -> t.Collection[str]:
    origins = settings.cors_origins
    return origins if isinstance(origins, (list, tuple, set, frozenset)) else ()
