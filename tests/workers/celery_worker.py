"""The application for ``celery -A``."""

from __future__ import annotations

from tests.workers.queued import create_app

app = create_app().extensions["celery"]
