"""Leaving a run: the connection ends, and the run goes on."""

from __future__ import annotations

import pytest

from flask_aistream.core import events as ev
from tests.browser.conftest import Page
from tests.browser.scripted import HEAD
from tests.browser.scripted import Ending
from tests.browser.scripted import Gate
from tests.browser.scripted import Log
from tests.browser.scripted import ScriptedServer
from tests.browser.scripted import answer

STOPPED = Log("Hel", ev.Stopped())
ANSWER = {"run": "r1", "status": "stopped", "by": "client"}
STREAMING = "window.run = ai.stream('/ai/chat', 'Hi', quick); window.told = read(run); await until(() => run.text)"


LEAVING = {
    "detach": "run.detach()",
    "the signal": "leave.abort()",
}


@pytest.mark.parametrize("how", LEAVING)
def test_leaving_closes_the_connection_and_stops_nothing(
    page: Page, server: ScriptedServer, how: str
) -> None:
    server.play("/ai/chat", [HEAD, STOPPED.frames(0, 2), Ending.HOLD])
    page.run("""
        window.leave = new AbortController();
        window.run = ai.stream("/ai/chat", "Hi", { signal: leave.signal });
        window.told = read(run);
        await until(() => run.text);
    """)
    page.run(LEAVING[how])
    told = page.run("return told")
    assert (told["status"], told["reason"], told["text"]) == ("detached", "detached", "Hel")
    assert [event["type"] for event in told["events"]] == ["run", "text"]  # The run has not ended.
    assert server.requests[0].left.wait(5)
    assert len(server.requests) == 1


def test_a_run_that_was_left_can_be_stopped_and_read_again(
    page: Page, server: ScriptedServer
) -> None:
    server.play("/ai/chat", [HEAD, STOPPED.frames(0, 2), Ending.HOLD])
    server.play(STOPPED.stop_path, answer(200, ANSWER))
    server.play(STOPPED.events_path, lambda request: [HEAD, STOPPED.after(request)])
    page.run(STREAMING)
    page.run("run.detach()")
    assert page.run("return run.stop()") == ANSWER
    told = page.run("return read(ai.attach(run.links.events, { cursor: run.cursor }))")
    assert told["status"] == "stopped"
    assert server.requests[-1].last_event_id == "r1:1"


BEFORE = [
    "const run = ai.stream('/ai/chat', 'Hi'); run.detach(); return run.done",
    "return ai.stream('/ai/chat', 'Hi', { signal: AbortSignal.abort() }).done",
]


@pytest.mark.parametrize("leave", BEFORE)
def test_a_run_left_before_it_began_is_never_asked_for(
    page: Page, server: ScriptedServer, leave: str
) -> None:
    assert page.run(leave)["status"] == "detached"
    assert not server.requests


def test_leaving_while_reconnecting_ends_the_wait(page: Page, server: ScriptedServer) -> None:
    server.play("/ai/chat", [HEAD, b"retry: 60000\n\n", STOPPED.frames(0, 2)])
    page.run(
        "window.run = ai.stream('/ai/chat', 'Hi', { retry: { max: 60 } }); window.told = read(run)"
    )
    page.until("run.status === 'waiting'")
    assert page.run("run.detach(); return told")["status"] == "detached"
    assert len(server.requests) == 1


def test_a_fetch_that_heeds_no_signal_does_not_bring_a_run_back(
    page: Page, server: ScriptedServer
) -> None:
    gate = Gate()
    server.play("/ai/chat", [gate, HEAD, STOPPED.frames(), Ending.LAST_CHUNK])
    page.run("""
        window.answered = null;
        const deaf = (url, { signal, ...request }) => (answered = fetch(url, request));
        window.run = ai.stream("/ai/chat", "Hi", { fetch: deaf });
        window.seen = watch(run);
    """)
    assert gate.reached.wait(5)
    page.run("run.detach()")
    gate.open()
    page.run("await answered; await new Promise((resolve) => setTimeout(resolve))")
    assert page.run("return [seen, run.status, run.text]") == [["detached"], "detached", ""]
