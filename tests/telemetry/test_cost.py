"""What telemetry costs while a run goes on."""

from __future__ import annotations

import sys
import threading
import types
import typing as t
from collections.abc import Iterator

import pytest
from flask import Flask
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry

from flask_aistream import AIStream
from flask_aistream import ChatRequest
from flask_aistream.telemetry.logs import log_runs
from flask_aistream.telemetry.metrics import measure_runs
from flask_aistream.telemetry.traces import trace_runs
from flask_aistream.web.signals import run_ended
from tests.telemetry.conftest import ask


@pytest.fixture
def called() -> Iterator[list[str]]:
    """The functions of telemetry, and ``between``, in the order in which threads of the test enter them."""
    names: list[str] = []

    def note(frame: types.FrameType, event: str, _: t.Any) -> None:
        code = frame.f_code
        if event == "call" and (
            "flask_aistream/telemetry/" in code.co_filename or code.co_name == "between"
        ):
            names.append(code.co_name)

    sys.setprofile(note)
    threading.setprofile(note)
    yield names
    sys.setprofile(None)
    threading.setprofile(None)


def between(token: str) -> str:
    return token


def test_telemetry_runs_at_the_start_and_the_end_of_a_run_and_never_for_a_token(
    called: list[str],
) -> None:
    before = dict(run_ended.receivers)
    app, ai = Flask("shop"), AIStream()

    @ai.provider
    def chat(request: ChatRequest) -> Iterator[str]:
        for _ in range(100):
            yield between("token ")

    ai.init_app(app, url_prefix="/ai")
    log_runs(app)
    trace_runs(app, TracerProvider())
    measure_runs(app, CollectorRegistry())
    ask(app, "chat")
    for receiver in run_ended.receivers.keys() - before.keys():
        del run_ended.receivers[receiver]
    first = called.index("between")
    last = len(called) - called[::-1].index("between")
    assert called[first:last] == ["between"] * 100
    assert {"current_trace", "span", "add"} <= {*called[:first], *called[last:]}
