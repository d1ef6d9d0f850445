"""The tools that applications test with."""

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
from flask_aistream.sse.decode import Decoder
from flask_aistream.testing import Gate
from flask_aistream.testing import ManualClock
from flask_aistream.testing import ManualConcurrency
from flask_aistream.testing import Script
from flask_aistream.testing import StreamClient
from flask_aistream.testing import event_of
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


def test_an_error_is_no_stream_and_has_a_body(app: Flask, ai: AIStream) -> None:
    ai.provider(name="chat")(Script(ProviderError("quota", "No more today.", status=429)))
    answer = StreamClient(app).read("/ai/chat?prompt=Hi")
    assert answer.response.status_code == 429
    assert answer.response.get_json()["error"]["code"] == "quota"
    assert (answer.events, answer.outcome) == ([], None)


def test_a_stream_that_hangs_fails_the_test_and_leaves_nothing_running(
    app: Flask, ai: AIStream
) -> None:
    script = Script("a", Gate())
    ai.provider(name="chat")(script)
    with pytest.raises(AssertionError, match=r"Nothing came for 0.1 s after .*'a'"):
        StreamClient(app, seconds=0.1).read("/ai/chat?prompt=Hi")
    script.wait_closed()
    until(lambda: install(app).process.runner.count == 0)


def test_a_slow_stream_that_goes_on_does_not_hang(app: Flask, ai: AIStream) -> None:
    gates = [Gate() for _ in range(5)]
    ai.provider(name="chat")(Script("x", *(step for gate in gates for step in (gate, "x"))))
    with StreamClient(app, seconds=5).open("/ai/chat?prompt=Hi") as stream:
        next(stream), next(stream)
        for gate in gates:
            gate.open()
            next(stream)
    assert stream.text == "xxxxxx"


LOSES: dict[ev.Event, ev.Event] = {
    ev.Stopped("detach"): ev.Stopped(),
    ev.Interrupted("owner-lost"): ev.Interrupted(),
}


@pytest.mark.parametrize("event", EVENTS, ids=repr)
def test_every_event_is_recognised(event: ev.Event) -> None:
    encoder = NativeEncoder(EncoderContext("r", "chat"))
    *others, frame = Decoder().feed(encoder.encode(0, [event]))
    failure = {"code": "quota", "message": "No more today."} if others else {}
    expected: ev.Event = event
    if isinstance(event, ev.Failed):
        expected = ev.Failed(event.code, event.message)  # A status is for HTTP only.
    elif isinstance(event, ev.Stopped | ev.Interrupted):
        expected = LOSES[event]
    assert event_of(frame, failure) == expected


# Scripts.


def test_a_script_does_its_steps_in_order_each_time() -> None:
    called: list[int] = []
    script = Script("a", lambda: called.append(1), 7, ValueError("x"))
    for times in (1, 2):
        said: list[t.Any] = []
        with pytest.raises(ValueError, match="x"):
            said.extend(script(t.cast(t.Any, None)))
        assert len(script.requests) == times == len(called)
        script.wait_closed(0)


def test_a_gate_nobody_opens_fails_the_script() -> None:
    with pytest.raises(AssertionError, match="Nobody opened"):
        Gate().pass_through(0.02)


def test_a_gate_nobody_reaches_fails_the_test() -> None:
    with pytest.raises(AssertionError, match="No provider came"):
        Gate().wait_reached(0.02)


def test_a_script_still_going_on_fails_who_waits_for_its_end() -> None:
    with pytest.raises(AssertionError, match="still works"):
        Script("a").wait_closed(0.02)


# Time.


def test_time_stands_still_until_told_otherwise(clock: ManualClock) -> None:
    before = clock()
    clock.advance(1.5)
    assert clock() == before + 1.5


def test_alarms_ring_in_order_each_at_its_time() -> None:
    clock = ManualClock(0.0)
    rung: list[tuple[str, float]] = []
    for name, delay in (("late", 3.0), ("early", 1.0), ("never", 9.0)):
        clock.alarm(lambda name=name: rung.append((name, clock()))).set(delay)  # type: ignore[misc]
    clock.advance(5)
    assert rung == [("early", 1.0), ("late", 3.0)]
    assert clock() == 5


def test_an_alarm_set_again_rings_at_its_new_time() -> None:
    clock = ManualClock(0.0)
    rung: list[float] = []
    alarm = clock.alarm(lambda: rung.append(clock()))
    alarm.set(1)
    alarm.set(3)
    clock.advance(10)
    assert rung == [3]


def test_an_alarm_may_set_itself_again() -> None:
    clock = ManualClock(0.0)
    rung: list[float] = []

    def ring() -> None:
        rung.append(clock())
        alarm.set(2)

    alarm = clock.alarm(ring)
    alarm.set(2)
    clock.advance(7)
    assert rung == [2, 4, 6]


def test_what_is_spawned_runs_when_told(clock: ManualClock) -> None:
    concurrency = ManualConcurrency(clock)
    done: list[str] = []

    def first() -> None:
        done.append("first")
        concurrency.spawn(lambda: done.append("second"))

    task = concurrency.spawn(first)
    assert (done, task.alive) == ([], True)
    concurrency.run()
    assert (done, task.alive) == (["first", "second"], False)


def test_what_is_interrupted_before_it_runs_never_does(clock: ManualClock) -> None:
    concurrency = ManualConcurrency(clock)
    done: list[str] = []
    task = concurrency.spawn(lambda: done.append("x"))
    task.interrupt()
    concurrency.run()
    assert (done, task.alive) == ([], False)


def test_a_sleeper_lets_the_others_work_and_then_time_pass(clock: ManualClock) -> None:
    concurrency = ManualConcurrency(clock)
    waiter = concurrency.waiter()
    start = clock()
    concurrency.spawn(waiter.wake)
    waiter.wait()
    assert clock() == start
    clock.alarm(waiter.wake).set(30)
    waiter.wait()
    assert clock() == start + 30


def test_a_sleeper_whom_nothing_can_wake_fails_the_test(clock: ManualClock) -> None:
    with pytest.raises(AssertionError, match="nothing will ever wake it"):
        ManualConcurrency(clock).waiter().wait()


# The page that documents them.

PAGE = Path(__file__).parent.parent / "docs" / "howto" / "testing.md"
SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_what_the_page_shows_works() -> None:
    shown: dict[str, t.Any] = {"__name__": "tests.shown"}
    for snippet in SNIPPET.findall(PAGE.read_text("utf-8")):
        exec(snippet, shown)
    tests = [it for name, it in shown.items() if name.startswith("test_")]
    assert len(tests) >= 5
    for test in tests:
        test()
