"""Wrappers below which few responses can be streamed at once, named in the log."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from collections.abc import Iterator
from types import FrameType

logger = logging.getLogger("flask_aistream")

LIMITS = {
    "asgiref.wsgi": "asgiref's WsgiToAsgi serves one request at a time: while one response is streamed, all "
    "other requests wait.",
    "a2wsgi.wsgi": "a2wsgi's WSGIMiddleware (also uvicorn's `--interface wsgi`) serves 10 requests at a time "
    "unless `workers` is set: each response that is streamed takes one.",
    "hypercorn.app_wrappers": "hypercorn serves a WSGI application in the few threads of asyncio's default "
    "executor: each response that is streamed takes one.",
}
"""By the module whose code calls the application."""


def limit_of(modules: Iterable[str]) -> str | None:
    """What the first wrapper among the callers of a request means for streams."""
    return next((LIMITS[module] for module in modules if module in LIMITS), None)


def limit_here() -> str | None:
    """What the wrapper that calls this application means for streams. To be called in a request."""
    return limit_of(modules_of(sys._getframe()))


def log_limit() -> None:
    """Name the wrapper that calls this application, if any. To be called once a process, in a request."""
    limit = limit_here()
    if limit is not None:
        logger.warning("%s Serve the application with gunicorn -k gevent.", limit)


def modules_of(frame: FrameType | None) -> Iterator[str]:
    """The modules of a frame and its callers."""
    while frame is not None:
        yield frame.f_globals.get("__name__", "")
        frame = frame.f_back
