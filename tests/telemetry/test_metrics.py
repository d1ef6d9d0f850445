"""Prometheus metrics of runs and of the process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from flask import Flask
from prometheus_client import CollectorRegistry

from flask_aistream import AIStream
from flask_aistream.telemetry.metrics import Metrics
from flask_aistream.telemetry.metrics import measure_runs
from tests.runs.support import until
from tests.server.servers import DEADLINE
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


def test_the_commits_of_a_shared_store_are_timed(tmp_path: Path) -> None:
    app = Flask("tests")
    app.config["AISTREAM_STORE"] = f"sqlite:///{tmp_path}/runs.sqlite"
    ai = AIStream()
    ai.provider(name="chat")(lambda request: iter(["Hel", "lo"]))
    ai.init_app(app, url_prefix="/ai")
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    ask(app, "chat")
    process = app.extensions["aistream"].process
    metrics.watch(process)
    labels = {"store": "sqlite"}
    count = registry.get_sample_value("aistream_store_commit_seconds_count", labels)
    seconds = registry.get_sample_value("aistream_store_commit_seconds_sum", labels)
    assert count is not None
    assert seconds is not None
    assert count >= 2  # The log's creation and its end.
    assert 0 < seconds < count * DEADLINE
    process.store.close()


def test_a_store_in_memory_has_no_commits(app: Flask) -> None:
    registry = CollectorRegistry()
    measure_runs(app, registry)
    ask(app, "chat")
    assert not any(
        "store_commit" in it.name for family in registry.collect() for it in family.samples
    )


def test_the_page_lists_every_metric_and_no_other() -> None:
    page = Path(__file__).parents[2] / "docs" / "howto" / "telemetry.md"
    documented = set(re.findall(r"`(aistream_\w+)`", page.read_text(encoding="utf-8")))
    registry = CollectorRegistry()
    Metrics(registry)
    made = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in registry.collect()
    }
    assert documented == made


WORKER = """
from flask_aistream.telemetry.metrics import measure_runs
from tests.telemetry.conftest import ask, make_app

app = make_app()
measure_runs(app)
ask(app, "chat")
"""
COLLECTOR = """
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

registry = CollectorRegistry()
MultiProcessCollector(registry)
labels = {"provider": "chat", "outcome": "finished"}
print(registry.get_sample_value("aistream_runs_total", labels))
"""


@pytest.mark.nightly
def test_the_metrics_of_several_processes_add_up(tmp_path: Path) -> None:
    environ = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}

    def run(code: str) -> str:
        command = [sys.executable, "-c", code]
        root = Path(__file__).parents[2]
        return subprocess.run(
            command, cwd=root, env=environ, check=True, capture_output=True, text=True, timeout=50
        ).stdout

    run(WORKER)
    run(WORKER)
    assert run(COLLECTOR).strip() == "2.0"
