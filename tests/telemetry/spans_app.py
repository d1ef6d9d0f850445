"""An application whose processes append their ended spans to one file, for ``test_spans.py``."""

from __future__ import annotations

import json
import os
import time
import typing as t
from collections.abc import Sequence

from flask import Flask
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.export import SpanExportResult

from flask_aistream import AIStream
from flask_aistream import ChatRequest
from flask_aistream.telemetry.traces import trace_runs
from tests.workers.queued import init_celery

WORDS = 20
PAUSE_SECONDS = 0.02

ai = AIStream()


@ai.provider
def chat(request: ChatRequest) -> t.Iterator[str]:
    for number in range(WORDS):
        yield f"{number} "
        time.sleep(PAUSE_SECONDS)


@ai.provider(restart=True)
def restarted(request: ChatRequest) -> t.Iterator[str]:
    """Continues in another worker where its own is killed."""
    for number in range(len(request.so_far.split()), WORDS):
        yield f"{number} "
        time.sleep(PAUSE_SECONDS)


class File(SpanExporter):
    """Appends each span as one line, which is written at once: a process may be killed at any time."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for span in spans:
            os.write(self._file, json.dumps(fields_of(span)).encode() + b"\n")
        return SpanExportResult.SUCCESS


def fields_of(span: ReadableSpan) -> dict[str, t.Any]:
    attributes = span.attributes or {}
    return {
        "name": span.name,
        "trace": f"{span.context.trace_id:032x}",
        "span": f"{span.context.span_id:016x}",
        "parent": f"{span.parent.span_id:016x}" if span.parent else None,
        "run": attributes.get("gen_ai.response.id"),
        "reasons": attributes.get("gen_ai.response.finish_reasons"),
        "pid": os.getpid(),
    }


def create_app() -> Flask:
    app = Flask("spans")
    app.config.from_prefixed_env("APP")
    if "CELERY" in app.config:
        init_celery(app)
    ai.init_app(app, url_prefix="/ai")
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(File(app.config["SPANS"])))
    instrumentor: t.Any = FlaskInstrumentor()
    instrumentor.instrument_app(app, tracer_provider=provider)
    trace_runs(app, provider)
    return app
