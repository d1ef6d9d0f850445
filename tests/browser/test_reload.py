"""A run that is still going is found again after a reload."""

from __future__ import annotations

import pytest

from flask_aistream.core import events as ev
from tests.browser.conftest import Page
from tests.browser.scripted import HEAD
from tests.browser.scripted import REFUSED
from tests.browser.scripted import Ending
from tests.browser.scripted import Gate
from tests.browser.scripted import Log
from tests.browser.scripted import Play
from tests.browser.scripted import ScriptedServer
from tests.browser.scripted import answer

HELLO = Log("Hel", "lo", ev.Finished())
START = "window.run = ai.stream('/ai/chat', 'Hi', { ...quick, persist: 'chat' });"
RESUME = "const run = ai.resume('chat', quick); return run && read(run)"
KEPT = "return sessionStorage.length"


def test_after_a_reload_the_whole_text_is_there(page: Page, server: ScriptedServer) -> None:
    server.play("/ai/chat", [HEAD, HELLO.frames(0, 2), Ending.HOLD])
    server.play(HELLO.events_path, lambda request: [HEAD, HELLO.after(request)])
    page.run(START + "await until(() => run.text)")
    page.open()
    told = page.run(RESUME)
    assert (told["text"], told["status"], told["id"]) == ("Hello", "finished", "r1")
    assert len(told["events"]) == 4
    assert server.requests[1].last_event_id is None
    assert page.run(KEPT) == 0
    assert page.run(RESUME) is None


def test_a_second_reload_and_a_cut_in_between_lose_nothing(
    page: Page, server: ScriptedServer
) -> None:
    server.play("/ai/chat", [HEAD, HELLO.frames(0, 2), Ending.HOLD])
    server.play(HELLO.events_path, [HEAD, HELLO.frames(0, 2), Ending.HOLD])
    server.play(HELLO.events_path, [HEAD, HELLO.frames(0, 3), Ending.LAST_CHUNK])
    server.play(HELLO.events_path, lambda request: [HEAD, HELLO.after(request)])
    page.run(START + "await until(() => run.text)")
    page.open()
    page.run("window.run = ai.resume('chat', quick); await until(() => run.text)")
    page.open()
    assert page.run(RESUME)["text"] == "Hello"
    assert [r.last_event_id for r in server.requests] == [None, None, None, "r1:2"]


def test_a_reload_before_the_reply_finds_the_run_by_its_key(
    page: Page, server: ScriptedServer
) -> None:
    server.play("/ai/chat", [Ending.HOLD], [HEAD, HELLO.frames()])
    page.run(START)
    server.wait_for(1)
    page.open()
    assert page.run(RESUME)["text"] == "Hello"
    one, two = server.requests
    assert (one.key, one.body, one.method) == (two.key, two.body, two.method)


def test_an_old_question_is_not_sent_again(page: Page, server: ScriptedServer) -> None:
    """A tab may be restored days later, when the server has forgotten the key."""
    server.play("/ai/chat", [Ending.HOLD])
    page.run(START)
    server.wait_for(1)
    page.open()
    page.run("const now = Date.now; Date.now = () => now() + 61_000;")
    assert page.run(RESUME) is None


ENDED = [
    pytest.param([HEAD, HELLO.frames()], 0, id="finished"),
    pytest.param([HEAD, Log(ev.Failed("x", "X")).frames()], 0, id="failed"),
    pytest.param([HEAD, Log(ev.Stopped()).frames()], 0, id="stopped"),
    pytest.param(answer(422, {"error": {"code": "x", "message": "X"}}), 0, id="refused"),
]


@pytest.mark.parametrize(("play", "kept"), ENDED)
def test_a_run_that_ended_is_forgotten(
    page: Page, server: ScriptedServer, play: Play, kept: int
) -> None:
    server.play("/ai/chat", play)
    page.run(START + "await run.done")
    assert page.run(KEPT) == kept


def test_a_run_that_may_still_go_on_is_kept(page: Page, server: ScriptedServer) -> None:
    """Left, or out of reach for longer than the budget."""
    server.play("/ai/chat", [HEAD, HELLO.frames(0, 2), Ending.HOLD])
    server.play(HELLO.events_path, *[REFUSED] * 6, [HEAD, HELLO.frames()])
    page.run(START + "await until(() => run.text); run.detach()")
    assert page.run(RESUME)["error"]["code"] == "connection_lost"
    assert page.run(RESUME)["text"] == "Hello"


def test_an_older_run_does_not_forget_a_newer_one_of_the_same_name(
    page: Page, server: ScriptedServer
) -> None:
    gate = Gate()
    newer = Log("b", ev.Finished(), run="r2")
    server.play("/ai/chat", [HEAD, HELLO.frames(0, 2), gate, HELLO.frames(2)])
    server.play("/ai/chat", [HEAD, newer.frames(0, 1), Ending.HOLD])
    page.run(START + "window.older = run; await until(() => run.text)")
    page.run(START + "await until(() => run.id)")
    gate.open()
    page.run("await older.done")
    assert "/ai/runs/r2/events" in page.run("return sessionStorage.getItem('aistream:chat')")


BAD = ["nonsense", "null", "{}", '{"links": null}', "[]", '{"at": 9e15}']


@pytest.mark.parametrize("value", BAD)
def test_what_somebody_else_stored_is_no_run(page: Page, value: str) -> None:
    page.run("sessionStorage.setItem('aistream:chat', args[0])", value)
    assert page.run("return ai.resume('chat')") is None


def test_without_storage_a_run_works_all_the_same(page: Page, server: ScriptedServer) -> None:
    server.play("/ai/chat", [HEAD, HELLO.frames()])
    page.run(
        "Object.defineProperty(window, 'sessionStorage', { get() { throw new Error('forbidden') } })"
    )
    assert page.run(START + "return read(run)")["text"] == "Hello"
    assert page.run(RESUME) is None
