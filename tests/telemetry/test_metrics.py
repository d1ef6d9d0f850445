"""Prometheus metrics of runs and of the process."""

from __future__ import annotations

from flask import Flask
from prometheus_client import CollectorRegistry

from flask_aistream.telemetry.metrics import measure_runs
from tests.runs.support import until
from tests.telemetry.conftest import ask


def test_ended_runs_are_counted_and_timed(app: Flask) -> None:
    registry = CollectorRegistry()
    measure_runs(app, registry)

    def value(name: str, **labels: str) -> float:
        return registry.get_sample_value(f"aistream_{name}", labels) or 0

    ask(app, "chat")
    ask(app, "chat")
    ask(app, "fails")
    ask(app, "endless", stop=True)
    until(lambda: value("runs_total", provider="endless", outcome="stopped") == 1)
    assert value("runs_total", provider="chat", outcome="finished") == 2
    assert value("failures_total", provider="fails", code="model_away") == 1
    assert value("tokens_total", provider="chat", direction="input") == 6
    assert value("tokens_total", provider="chat", direction="output") == 4
    assert value("run_seconds_count", provider="chat") == 2
    assert value("first_token_seconds_count", provider="chat") == 2
    assert value("token_gap_seconds_count", provider="endless") == 1


def test_the_gauges_show_the_process(app: Flask) -> None:
    registry = CollectorRegistry()
    measure_runs(app, registry)
    run = ask(app, "chat")
    app.test_client().get(f"/ai/runs/{run}/events", headers={"Last-Event-ID": f"{run}:1"}).close()
    process = app.extensions["aistream"].process
    assert process.take_resumes() == 1
    process.count_resume()
    for name in ("active_runs", "open_streams", "loop_late_seconds"):
        assert registry.get_sample_value(f"aistream_{name}") is not None
