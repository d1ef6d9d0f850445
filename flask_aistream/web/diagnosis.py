"""What a serving process can tell about itself, for ``flask aistream doctor``.

The routes answer only to a command that has the application's ``SECRET_KEY``; to everybody else they do not exist.
"""

from __future__ import annotations

import time
import typing as t
from collections.abc import Iterator

from flask import Blueprint
from flask import Flask
from flask import Response
from flask import abort
from flask import current_app
from flask import jsonify
from flask import request
from itsdangerous import BadData
from itsdangerous import URLSafeTimedSerializer

from flask_aistream.server.blocking import blocking_modules
from flask_aistream.server.detect import patched_by_gevent
from flask_aistream.server.detect import served_by_gevent
from flask_aistream.server.gunicorn import find_worker
from flask_aistream.server.siblings import may_have_siblings
from flask_aistream.server.wrappers import limit_here
from flask_aistream.web.extension import extension

HEADER = "AIStream-Doctor"
TOKEN_SECONDS = 120

FRAMES = 5
FRAME_SECONDS = 0.3
FRAME_BYTES = 64
MOST_SILENCE = 600.0
"""Longest silence in seconds that a test stream keeps."""


def add(blueprint: Blueprint) -> None:
    """Put the routes on a blueprint."""
    blueprint.add_url_rule("/health/process", "doctor-process", process)
    blueprint.add_url_rule("/health/stream", "doctor-stream", test_stream)
    blueprint.add_url_rule("/health/body", "doctor-body", body, methods=["POST"])


def token_for(app: Flask) -> str | None:
    """What the header of the command holds; ``None`` without a ``SECRET_KEY``."""
    return serializer(app).dumps("doctor") if app.secret_key else None


def serializer(app: Flask) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(t.cast(str, app.secret_key), salt="aistream-doctor")


def only_for_doctor() -> None:
    """Answer 404 unless the request carries a fresh token."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    if not app.secret_key:
        abort(404)
    try:
        serializer(app).loads(request.headers.get(HEADER, ""), max_age=TOKEN_SECONDS)
    except BadData:
        abort(404)


def process() -> Response:
    """The facts about this process and this request, as one JSON object."""
    only_for_doctor()
    return jsonify(facts())


def facts() -> dict[str, t.Any]:
    worker = find_worker()
    environ = request.environ
    return {
        "server": environ.get("SERVER_SOFTWARE", ""),
        "worker": worker.cfg.worker_class_str if worker else None,
        "timeout": worker.cfg.timeout if worker else None,
        "gevent_unpatched": served_by_gevent() and not patched_by_gevent(),
        "blocking": blocking_modules() if patched_by_gevent() else [],
        "siblings": may_have_siblings(),
        "store": (extension().settings.store or "").partition(":")[0] or None,
        "wrapper": limit_here(),
        "debug": current_app.debug,
        "forwarded": "HTTP_X_FORWARDED_FOR" in environ or "HTTP_FORWARDED" in environ,
        "proxy_fix": "werkzeug.proxy_fix.orig" in environ,
    }


def test_stream() -> Response:
    """A few frames at a fixed pace, then a silence of ``?silence=`` seconds and one more frame."""
    only_for_doctor()
    silence = min(request.args.get("silence", 0.0, type=float), MOST_SILENCE)
    response = Response(frames(silence), mimetype="text/event-stream")
    response.headers["Cache-Control"] = "no-cache, no-transform"
    response.headers["X-Accel-Buffering"] = "no"
    return response


def frames(silence: float) -> Iterator[bytes]:
    for number in range(FRAMES):
        yield f"data: {str(number).ljust(FRAME_BYTES)}\n\n".encode()
        time.sleep(FRAME_SECONDS)
    time.sleep(silence)
    yield b"data: end\n\n"


def body() -> Response:
    """Read a body of any length, and tell how many bytes arrived."""
    only_for_doctor()
    request.max_content_length = extension().settings.max_body_bytes
    return jsonify(bytes=len(request.get_data(cache=False)))
