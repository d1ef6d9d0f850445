"""Paths of a run, for clients to resume and stop it."""

from __future__ import annotations

from flask import url_for

from flask_aistream.core.run import Run
from flask_aistream.web.extension import Extension
from flask_aistream.web.extension import current_request


def links_of(ext: Extension, run: Run) -> dict[str, str]:
    """``events`` and ``stop`` of a run, below the blueprint that serves this request; in a view of the
    application's own, below one that has the run's provider."""
    inside = current_request().blueprint in ext.mounts
    blueprint = "" if inside else ext.mounts.name_for(run.provider)
    return {
        "events": url_for(f"{blueprint}.events", run_id=run.id),
        "stop": url_for(f"{blueprint}.stop", run_id=run.id),
    }
