"""One span for each run, in the trace of the request that started it."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator

import pytest
from flask import Flask
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from flask_aistream.telemetry.traces import trace_runs
from tests.runs.support import until
from tests.telemetry.conftest import ask

TRACE = "0af7651916cd43dd8448eb211c80319c"


class Traced(t.NamedTuple):
    app: Flask
    exporter: InMemorySpanExporter

    def of_runs(self) -> list[ReadableSpan]:
        return [it for it in self.exporter.get_finished_spans() if it.name.startswith("chat ")]


@pytest.fixture
def traced(app: Flask) -> Iterator[Traced]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor: t.Any = FlaskInstrumentor()
    instrumentor.instrument_app(app, tracer_provider=provider)
    trace_runs(app, provider)
    yield Traced(app, exporter)
    instrumentor.uninstrument_app(app)


@pytest.mark.parametrize(
    ("provider", "stop", "status", "reason"),
    [
        ("chat", False, StatusCode.UNSET, "stop"),
        ("fails", False, StatusCode.ERROR, "failed"),
        ("endless", True, StatusCode.UNSET, "stopped"),
    ],
)
def test_a_run_is_one_span_below_its_request(
    traced: Traced, provider: str, stop: bool, status: StatusCode, reason: str
) -> None:
    run = ask(traced.app, provider, stop=stop, headers={"traceparent": f"00-{TRACE}-{1:016x}-01"})
    until(lambda: bool(traced.of_runs()))
    (span,) = traced.of_runs()
    start = next(
        it for it in traced.exporter.get_finished_spans() if it.name.startswith("POST /ai/<")
    )
    assert span.context.trace_id == int(TRACE, 16)
    assert span.parent is not None
    assert span.parent.span_id == start.context.span_id
    assert span.status.status_code is status
    assert span.attributes is not None
    assert span.attributes["gen_ai.response.id"] == run
    assert span.attributes["gen_ai.request.model"] == provider
    assert span.attributes["gen_ai.response.finish_reasons"] == (reason,)
    assert span.attributes.get("error.type") == ("model_away" if provider == "fails" else None)
    assert t.cast(float, span.attributes["gen_ai.response.time_to_first_chunk"]) >= 0
    assert span.end_time >= span.start_time  # type: ignore[operator]


def test_a_run_that_is_read_many_times_is_one_span(traced: Traced) -> None:
    run = ask(traced.app, "chat")
    for _ in range(3):
        assert traced.app.test_client().get(f"/ai/runs/{run}/events").data
    until(lambda: bool(traced.of_runs()))
    assert len(traced.of_runs()) == 1


def test_without_a_current_span_a_run_begins_a_trace(traced: Traced) -> None:
    with traced.app.app_context():
        t.cast(t.Any, traced.app.blueprints["aistream"]).start("chat", "Hi").wait(5)
    until(lambda: bool(traced.of_runs()))
    (span,) = traced.of_runs()
    assert span.parent is None
