"""Sentry shows the spans of runs through its OpenTelemetry integration."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator

import pytest
import sentry_sdk
from flask import Flask
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from sentry_sdk.envelope import Envelope
from sentry_sdk.integrations.opentelemetry import SentrySpanProcessor
from sentry_sdk.transport import Transport

from flask_aistream.telemetry.traces import trace_runs
from tests.runs.support import until
from tests.telemetry.conftest import ask

Sent = list[dict[str, t.Any]]
"""The transactions that Sentry's server would get, or their spans."""


@pytest.fixture
def sent() -> Iterator[Sent]:
    transactions: Sent = []

    class Kept(Transport):
        def capture_envelope(self, envelope: Envelope) -> None:
            transactions.extend(
                t.cast("dict[str, t.Any]", item.payload.json)
                for item in envelope.items
                if item.type == "transaction"
            )

    sentry_sdk.init(
        dsn="http://key@127.0.0.1/1",
        instrumenter="otel",
        traces_sample_rate=1.0,
        transport=Kept,
        default_integrations=False,  # They change the standard library, for the tests that follow, too.
    )
    yield transactions
    sentry_sdk.get_client().close()
    sentry_sdk.get_global_scope().set_client(None)


@pytest.mark.parametrize(("provider", "status"), [("chat", None), ("fails", "internal_error")])
def test_sentry_gets_each_run_in_the_trace_of_its_request(
    app: Flask, sent: Sent, provider: str, status: str | None
) -> None:
    spans = TracerProvider()
    spans.add_span_processor(SentrySpanProcessor())
    instrumentor: t.Any = FlaskInstrumentor()
    instrumentor.instrument_app(app, tracer_provider=spans)
    trace_runs(app, spans)
    run = ask(app, provider)
    names = ("POST /ai/<provider>", f"chat {provider}")
    until(lambda: all(spans_of(sent, name) for name in names))
    instrumentor.uninstrument_app(app)
    (request,), (span,) = (spans_of(sent, name) for name in names)
    assert span["trace_id"] == request["trace_id"]
    assert span["parent_span_id"] == request["span_id"]
    assert span.get("status") == status
    assert span["data"]["gen_ai.response.id"] == run


def spans_of(sent: Sent, name: str) -> Sent:
    """The spans of a name. One that ends after its parent is a transaction in the trace of its parent."""
    spans: Sent = []
    for it in sent:
        data = it["contexts"].get("otel", {}).get("attributes", {})
        spans.append({**it["contexts"]["trace"], "description": it["transaction"], "data": data})
        spans.extend(it["spans"])
    return [it for it in spans if it["description"] == name]
