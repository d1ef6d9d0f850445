"""An application in a thread of this process, and what doctor finds behind its URL."""

from __future__ import annotations

import threading
import typing as t
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask
from werkzeug.serving import make_server

from flask_aistream.doctor.checks import Finding
from flask_aistream.doctor.checks import diagnose
from flask_aistream.doctor.probe import examine
from flask_aistream.doctor.subject import Subject
from flask_aistream.web.diagnosis import token_for
from flask_aistream.web.extension import install


@contextmanager
def served(app: Flask) -> Iterator[int]:
    """The port at which a thread of this process serves an application."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def diagnosed_at(url: str, app: Flask, silence: float) -> list[Finding]:
    """
    :param silence: Seconds that a silent stream has to survive.
    """
    ext = install(app)
    most = t.cast(int, ext.settings.max_body_bytes)
    site = examine(url, token_for(app), silence=silence, body=most, origin=None)
    return list(diagnose(Subject(app, ext.settings, ext.mounts, site)))
