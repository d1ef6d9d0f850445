"""The application of ``app.py`` for servers that need a module with an application."""

from __future__ import annotations

import os

from tests.server.app import create_app

app = create_app()
app.instance_path = os.environ.get("INSTANCE", app.instance_path)
