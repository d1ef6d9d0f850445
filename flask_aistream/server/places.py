"""The requests that a worker serves at once, and how they are divided, so that no kind of them keeps all others waiting."""

from __future__ import annotations

from flask_aistream.server import gunicorn
from flask_aistream.server.detect import patched_by_gevent

RESERVED = 10
"""One place in so many is not for streams: it serves ``/health``, stop requests and whatever else ends soon."""


def places() -> int | None:
    """How many requests gunicorn's worker serves at once; ``None`` for one at a time, and where it is not known."""
    worker = gunicorn.find_worker()
    if worker is None:
        return None
    cfg = worker.cfg
    count = int(cfg.worker_connections if patched_by_gevent() else cfg.threads)
    return count if count > 1 else None


def places_of_streams(count: int | None) -> int | None:
    """How many of the places streams may take; ``None`` for any number."""
    return None if count is None else count - max(count // RESERVED, 1)
