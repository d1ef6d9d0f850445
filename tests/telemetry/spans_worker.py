"""The application for ``celery -A``."""

from __future__ import annotations

from tests.telemetry.spans_app import create_app

app = create_app().extensions["celery"]
