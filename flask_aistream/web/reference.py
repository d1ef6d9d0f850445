"""The reference of an error: a short id that its response and its log line share.

An error of a run is referred to by the first characters of the run's id, as everywhere in the log. Any other error is
referred to by its request: by the ``X-Request-ID`` of a proxy, or by a random id.
"""

from __future__ import annotations

import re
import secrets

from flask import Request

HEADER = "X-Request-ID"
"""Of requests, where proxies set it, and of error responses, where OpenAI's SDKs read it."""

ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""A request's own id. Anything else could forge a log line, and is replaced."""

SHOWN_ID = 8
"""Characters of a run's id that refer to it: the whole id is a capability."""

KEY = "aistream.reference"


def reference_of(request: Request) -> str:
    """The reference of a request: the same at each call."""
    known: str | None = request.environ.get(KEY)
    if known is None:
        given = request.headers.get(HEADER, "")
        known = given if ACCEPTED.fullmatch(given) else secrets.token_hex(SHOWN_ID // 2)
        request.environ[KEY] = known
    return known
