"""One structured log line for each ended run."""

from __future__ import annotations

import logging
import typing as t

from flask import Flask

from flask_aistream.runs.ended import RunEnded
from flask_aistream.web.reference import SHOWN_ID
from flask_aistream.web.signals import run_ended

logger = logging.getLogger("flask_aistream.runs")


def log_runs(app: Flask) -> None:
    """Log each ended run of an application at INFO as ``flask_aistream.runs``.

    The fields are in the message, and as attributes of the record for a JSON formatter: ``run`` (its first characters),
    ``provider``, ``outcome``, ``code`` of a failure, ``seconds``, ``first_seconds``, ``input_tokens``,
    ``output_tokens``.
    """

    def log(_: Flask, ended: RunEnded) -> None:
        fields = fields_of(ended)
        text = " ".join(f"{name}={value}" for name, value in fields.items() if value is not None)
        logger.info("run ended: %s", text, extra=fields)

    run_ended.connect(log, app)


def fields_of(ended: RunEnded) -> dict[str, t.Any]:
    usage = ended.usage
    first = ended.first_seconds
    return {
        "run": ended.run.id[:SHOWN_ID],
        "provider": ended.run.provider,
        "outcome": ended.status,
        "code": getattr(ended.outcome, "code", None),
        "seconds": round(ended.seconds, 3),
        "first_seconds": None if first is None else round(first, 3),
        "input_tokens": usage.input_tokens if usage else None,
        "output_tokens": usage.output_tokens if usage else None,
    }
