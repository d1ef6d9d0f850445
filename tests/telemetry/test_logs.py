"""One log line for each ended run."""

from __future__ import annotations

import logging
import typing as t

import pytest
from flask import Flask

from flask_aistream.telemetry.logs import log_runs
from tests.runs.support import until
from tests.telemetry.conftest import ask


@pytest.mark.parametrize(
    ("provider", "stop", "fields"),
    [
        (
            "chat",
            False,
            {"outcome": "finished", "input_tokens": 3, "output_tokens": 2, "code": None},
        ),
        ("fails", False, {"outcome": "failed", "code": "model_away"}),
        ("endless", True, {"outcome": "stopped", "code": None}),
    ],
)
def test_an_ended_run_is_one_line(
    app: Flask,
    caplog: pytest.LogCaptureFixture,
    provider: str,
    stop: bool,
    fields: dict[str, t.Any],
) -> None:
    log_runs(app)
    caplog.set_level(logging.INFO, "flask_aistream.runs")
    run = ask(app, provider, stop=stop)
    until(lambda: bool(lines(caplog)))
    (record,) = lines(caplog)
    assert record.__dict__["run"] == run[:8]
    assert record.__dict__["provider"] == provider
    assert {name: record.__dict__[name] for name in fields} == fields
    assert run not in record.getMessage()
    assert f"provider={provider} outcome={fields['outcome']}" in record.getMessage()


def lines(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [it for it in caplog.records if it.name == "flask_aistream.runs"]
