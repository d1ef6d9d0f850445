"""One OpenTelemetry span for each run, by the GenAI semantic conventions.

The span is made when the end of the run is delivered, with the times of the run. So a disconnect, a resume in another
worker or a killed process leaves no span open. Its parent is the span that was current at the start, which is stored
with the run.
"""

from __future__ import annotations

import typing as t

from flask import Flask

from flask_aistream.core.events import Failed
from flask_aistream.core.events import Finished
from flask_aistream.core.events import Interrupted
from flask_aistream.runs.ended import RunEnded
from flask_aistream.web.extension import install
from flask_aistream.web.signals import run_ended

if t.TYPE_CHECKING:
    from opentelemetry.trace import Tracer
    from opentelemetry.trace import TracerProvider

NANOSECONDS = 1_000_000_000


def trace_runs(app: Flask, tracer_provider: TracerProvider | None = None) -> None:
    """Make a span for each ended run of an application, as a child of the request that started it.

    Call it after the ``AIStream`` is registered. Needs the package ``opentelemetry-api``.

    :param tracer_provider: By default the global one.
    """
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    propagator = TraceContextTextMapPropagator()
    tracer = trace.get_tracer("flask_aistream", tracer_provider=tracer_provider)

    def current_trace() -> str:
        carrier: dict[str, str] = {}
        propagator.inject(carrier)
        return carrier.get("traceparent", "")

    def span(_: Flask, ended: RunEnded) -> None:
        parent = propagator.extract({"traceparent": ended.request.trace})
        make_span(tracer, parent, ended)

    install(app).current_trace = current_trace
    run_ended.connect(span, app)


def make_span(tracer: Tracer, parent: t.Any, ended: RunEnded) -> None:
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace import StatusCode

    began = int(ended.run.created * NANOSECONDS)
    span = tracer.start_span(
        f"chat {ended.run.provider}",
        parent,
        SpanKind.INTERNAL,
        {name: value for name, value in attributes_of(ended).items() if value is not None},
        start_time=began,
    )
    if isinstance(ended.outcome, (Failed, Interrupted)):
        span.set_status(StatusCode.ERROR, error_of(ended.outcome))
    span.end(began + int(ended.seconds * NANOSECONDS))


def attributes_of(ended: RunEnded) -> dict[str, t.Any]:
    """Source: OpenTelemetry semantic conventions for generative AI, spans."""
    usage, outcome = ended.usage, ended.outcome
    reason = outcome.reason if isinstance(outcome, Finished) else ended.status
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "flask_aistream",
        "gen_ai.request.model": ended.run.provider,
        "gen_ai.request.stream": True,
        "gen_ai.response.id": ended.run.id,
        "gen_ai.response.finish_reasons": (reason,),
        "gen_ai.response.time_to_first_chunk": ended.first_seconds,
        "gen_ai.conversation.id": ended.chat,
        "gen_ai.usage.input_tokens": usage.input_tokens if usage else None,
        "gen_ai.usage.output_tokens": usage.output_tokens if usage else None,
        "error.type": error_of(outcome) if isinstance(outcome, (Failed, Interrupted)) else None,
    }


def error_of(outcome: Failed | Interrupted) -> str:
    return outcome.code if isinstance(outcome, Failed) else "interrupted"
