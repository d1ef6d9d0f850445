"""The test tools for applications, and the page that documents them."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
from flask import Flask

from flask_aistream import AIStream
from flask_aistream import Finished
from flask_aistream import ProviderError
from flask_aistream.core import events as ev
from flask_aistream.protocols.base import EncoderContext
from flask_aistream.protocols.native import NativeEncoder
from flask_aistream.protocols.native_decode import decode_event
from flask_aistream.sse.decode import Decoder
from flask_aistream.testing import Gate
from flask_aistream.testing import Script
from flask_aistream.testing import StreamClient
from flask_aistream.web.extension import install
from tests.core.samples import EVENTS
from tests.runs.support import until


def test_a_stream_is_read_to_its_end(app: Flask, ai: AIStream) -> None:
    ai.provider(name="chat")(Script("Hel", "lo"))
    answer = StreamClient(app).read("/ai/chat", json={"prompt": "Hi"})
    assert answer.response.status_code == 200
    assert answer.events == [ev.RunStarted(answer.run, "chat"), "Hel", "lo", Finished()]
    assert (answer.text, answer.outcome) == ("Hello", Finished())
    assert answer.last_event_id == f"{answer.run}:3"


def test_a_stream_is_read_event_by_event(app: Flask, ai: AIStream) -> None:
    gate = Gate()
    script = Script("a", gate, "b")
    ai.provider(name="chat")(script)
    with StreamClient(app).open("/ai/chat?prompt=Hi") as stream:
        assert [next(stream), next(stream)][1] == "a"
        assert stream.outcome is None
        gate.open()
        assert list(stream) == ["b", Finished()]
    script.wait_closed()


def test_an_http_error_has_a_body_and_no_events(app: Flask, ai: AIStream) -> None:
    ai.provider(name="chat")(Script(ProviderError("quota", "No more today.", status=429)))
    answer = StreamClient(app).read("/ai/chat?prompt=Hi")
    assert answer.response.status_code == 429
    assert answer.response.get_json()["error"]["code"] == "quota"
    assert (answer.events, answer.outcome) == ([], None)


def test_a_silent_stream_fails_the_test_and_its_run_is_stopped(app: Flask, ai: AIStream) -> None:
    script = Script("a", Gate())
    ai.provider(name="chat")(script)
    with pytest.raises(AssertionError, match=r"Nothing came for 0.1 s after .*'a'"):
        StreamClient(app, seconds=0.1).read("/ai/chat?prompt=Hi")
    script.wait_closed()
    until(lambda: install(app).process.runner.count == 0)


def test_the_time_limit_applies_to_each_event_and_not_to_the_stream(
    app: Flask, ai: AIStream
) -> None:
    gates = [Gate() for _ in range(5)]
    ai.provider(name="chat")(Script("x", *(step for gate in gates for step in (gate, "x"))))
    with StreamClient(app, seconds=5).open("/ai/chat?prompt=Hi") as stream:
        next(stream), next(stream)
        for gate in gates:
            gate.open()
            next(stream)
    assert stream.text == "xxxxxx"


FAILED = next(event for event in EVENTS if isinstance(event, ev.Failed))
# The protocol does not carry these fields.
DECODED: dict[ev.Event, ev.Event] = {
    ev.Stopped("detach"): ev.Stopped(),
    ev.Interrupted("owner-lost"): ev.Interrupted(),
    FAILED: ev.Failed(FAILED.code, FAILED.message),
}


def test_every_native_frame_decodes_to_its_event() -> None:
    encoder = NativeEncoder(EncoderContext("r", "chat"))
    for event in EVENTS:
        *others, frame = Decoder().feed(encoder.encode(0, [event]))
        failure = {"code": "quota", "message": "No more today."} if others else {}
        expected = DECODED.get(event, event) if isinstance(event, ev.TERMINAL) else event
        assert decode_event(frame, failure) == expected


def test_a_script_plays_its_steps_in_order_at_every_call() -> None:
    called: list[int] = []
    script = Script("a", lambda: called.append(1), 7, ValueError("x"))
    for times in (1, 2):
        yielded: list[t.Any] = []
        with pytest.raises(ValueError, match="x"):
            yielded.extend(script(t.cast(t.Any, None)))
        assert len(script.requests) == times == len(called)
        script.wait_closed(0)


def test_a_gate_that_is_not_opened_raises_in_the_provider() -> None:
    with pytest.raises(AssertionError, match="was not opened"):
        Gate().pass_through(0.02)


def test_a_gate_that_is_not_reached_fails_the_test() -> None:
    with pytest.raises(AssertionError, match="No provider reached"):
        Gate().wait_reached(0.02)


def test_waiting_for_the_end_of_a_running_script_fails_the_test() -> None:
    with pytest.raises(AssertionError, match="still runs"):
        Script("a").wait_closed(0.02)


PAGE = Path(__file__).parent.parent / "docs" / "howto" / "testing.md"
SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_snippets_of_the_documentation_work() -> None:
    shown: dict[str, t.Any] = {"__name__": "tests.shown"}
    for snippet in SNIPPET.findall(PAGE.read_text("utf-8")):
        exec(snippet, shown)
    tests = [it for name, it in shown.items() if name.startswith("test_")]
    assert len(tests) >= 5
    for test in tests:
        test()
