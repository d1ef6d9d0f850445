"""Prometheus metrics of runs and of each process."""

from __future__ import annotations

import typing as t

from flask import Flask

from flask_aistream.core.events import Interrupted
from flask_aistream.runs.ended import RunEnded
from flask_aistream.web.extension import install
from flask_aistream.web.process import ProcessState
from flask_aistream.web.signals import run_ended

if t.TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

REFRESH_SECONDS = 5.0
"""Time between two values of the gauges, and between two collections of what the store has measured."""

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
GAPS = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5)
COMMITS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5)
"""Upper bounds of the histograms' buckets, in seconds."""


def measure_runs(app: Flask, registry: CollectorRegistry | None = None) -> None:
    """Count and time the runs of an application for ``prometheus_client``.

    Call it once, after the ``AIStream`` is registered. In the multi-process mode of ``prometheus_client`` the metrics of
    all workers add up. Serving ``/metrics`` is up to the application.

    :param registry: By default the global one.
    """
    from prometheus_client import REGISTRY

    metrics = Metrics(registry or REGISTRY)
    run_ended.connect(metrics.add, app, weak=False)
    install(app).on_process(metrics.watch)


class Metrics:
    """The metrics of one application."""

    def __init__(self, registry: CollectorRegistry) -> None:
        from prometheus_client import Counter
        from prometheus_client import Gauge
        from prometheus_client import Histogram

        def gauge(name: str, about: str) -> Gauge:
            return Gauge(name, about, registry=registry, multiprocess_mode="livesum")

        self._runs = Counter(
            "aistream_runs", "Ended runs", ["provider", "outcome"], registry=registry
        )
        self._failures = Counter(
            "aistream_failures", "Failed runs", ["provider", "code"], registry=registry
        )
        self._tokens = Counter(
            "aistream_tokens",
            "Tokens, as providers report them",
            ["provider", "direction"],
            registry=registry,
        )
        self._seconds = Histogram(
            "aistream_run_seconds",
            "Duration of a run",
            ["provider"],
            buckets=SECONDS,
            registry=registry,
        )
        self._first = Histogram(
            "aistream_first_token_seconds",
            "From the start of a run to its first event",
            ["provider"],
            buckets=SECONDS,
            registry=registry,
        )
        self._gap = Histogram(
            "aistream_token_gap_seconds",
            "Mean time between two tokens of a run",
            ["provider"],
            buckets=GAPS,
            registry=registry,
        )
        self._resumes = Counter(
            "aistream_resumes", "Streams that began at a cursor", registry=registry
        )
        self._commit = Histogram(
            "aistream_store_commit_seconds",
            "Time in which the store commits a batch: the new records of all runs of a process",
            ["store"],
            buckets=COMMITS,
            registry=registry,
        )
        self._active = gauge("aistream_active_runs", "Runs that this process executes")
        self._streams = gauge("aistream_open_streams", "Streams that are open in this process")
        self._late = gauge("aistream_loop_late_seconds", "Mean lateness of the event loop's timers")

    def add(self, _: Flask, ended: RunEnded) -> None:
        """Count an ended run."""
        provider, outcome = ended.run.provider, ended.outcome
        self._runs.labels(provider, ended.status).inc()
        code = "interrupted" if isinstance(outcome, Interrupted) else getattr(outcome, "code", None)
        if code is not None:
            self._failures.labels(provider, code).inc()
        self._seconds.labels(provider).observe(ended.seconds)
        if ended.first_seconds is None:
            return
        self._first.labels(provider).observe(ended.first_seconds)
        usage = ended.usage
        for direction, count in (
            ("input", usage.input_tokens if usage else None),
            ("output", usage.output_tokens if usage else None),
        ):
            if count:
                self._tokens.labels(provider, direction).inc(count)
        gaps = (
            ended.message.count - 3
        )  # The start, the first token and the end have none before them.
        if gaps > 0:
            self._gap.labels(provider).observe((ended.seconds - ended.first_seconds) / gaps)

    def watch(self, process: ProcessState) -> None:
        """Keep the metrics of a process up to date."""
        self._active.set(process.runner.count)
        self._streams.set(process.limits.count)
        self._late.set(process.flush_interval.mean_delay)
        self._resumes.inc(process.take_resumes())
        # Observed here: the thread that commits may be one beside gevent, which must not take the metrics' locks.
        for seconds in process.store.take_durations():
            self._commit.labels(process.store_kind).observe(seconds)
        process.timer.call_later(REFRESH_SECONDS, lambda: self.watch(process))
