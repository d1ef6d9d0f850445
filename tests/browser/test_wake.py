"""Silence, networks that go away, pages that sleep."""

from __future__ import annotations

from flask_aistream.core import events as ev
from tests.browser.conftest import Page
from tests.browser.scripted import HEAD
from tests.browser.scripted import REFUSED
from tests.browser.scripted import Ending
from tests.browser.scripted import Gate
from tests.browser.scripted import Log
from tests.browser.scripted import ScriptedServer

HELLO = Log("Hel", "lo", ev.Finished())


def rest(server: ScriptedServer) -> None:
    server.always(HELLO.events_path, lambda request: [HEAD, HELLO.after(request)])


def test_a_silent_connection_is_dead_and_replaced(page: Page, server: ScriptedServer) -> None:
    server.play("/ai/chat", [HEAD, HELLO.frames(0, 2), Ending.HOLD])
    rest(server)
    told = page.run("return read(ai.stream('/ai/chat', 'Hi', { ...quick, silence: 0.3 }))")
    assert (told["status"], told["text"]) == ("finished", "Hello")
    assert server.requests[0].left.wait(5)
    assert len(server.requests) == 2


def test_a_server_that_never_answers_is_asked_again_under_the_same_key(
    page: Page, server: ScriptedServer
) -> None:
    server.play("/ai/chat", [Ending.HOLD], [HEAD, HELLO.frames()])
    told = page.run("return read(ai.stream('/ai/chat', 'Hi', { ...quick, silence: 0.3 }))")
    assert told["text"] == "Hello"
    assert len({request.key for request in server.requests}) == 1


def test_heartbeats_are_a_sign_of_life(page: Page, server: ScriptedServer) -> None:
    """Longer than the limit without an event, but never without a byte."""
    beats = [Gate() for _ in range(6)]
    steps = [step for gate in beats for step in (gate, b": ping\n")]
    server.play("/ai/chat", [HEAD, HELLO.frames(0, 2), *steps, HELLO.frames(2)])
    page.run(
        "window.run = ai.stream('/ai/chat', 'Hi', { ...quick, silence: 1 }); await until(() => run.text)"
    )
    for gate in beats:
        page.run("await new Promise((resolve) => setTimeout(resolve, 200))")
        gate.open()
    assert page.run("return run.done")["text"] == "Hello"
    assert len(server.requests) == 1


def test_offline_no_attempt_is_made_and_none_is_counted(page: Page, server: ScriptedServer) -> None:
    cut = Gate()
    server.play("/ai/chat", [HEAD, HELLO.frames(0, 2), cut, Ending.CUT])
    rest(server)
    page.run("""
        window.run = ai.stream("/ai/chat", "Hi", { retry: { attempts: 1, base: 0.01 } });
        window.seen = [];
        run.on("status", ({ status, attempt }) => seen.push([status, attempt]));
        await until(() => run.text);
    """)
    page.offline(True)
    page.until("!navigator.onLine")
    cut.open()
    page.until("run.status === 'waiting'")
    page.run("await new Promise((resolve) => setTimeout(resolve, 300))")
    assert page.run("return seen.at(-1)") == ["waiting", 0]
    assert len(server.requests) == 1
    page.offline(False)
    assert page.run("return run.done")["text"] == "Hello"
    assert len(server.requests) == 2


def test_a_network_that_comes_back_replaces_the_connection(
    page: Page, server: ScriptedServer
) -> None:
    """The old one may look open for minutes; Chromium's emulation keeps it alive, real ones do not."""
    server.play("/ai/chat", [HEAD, HELLO.frames(0, 2), Ending.HOLD])
    rest(server)
    page.run("window.run = ai.stream('/ai/chat', 'Hi', quick); await until(() => run.text)")
    page.offline(True)
    page.until("!navigator.onLine")
    page.offline(False)
    assert page.run("return run.done")["text"] == "Hello"


WAKES = [
    "dispatchEvent(new Event('pageshow'))",
    "dispatchEvent(new Event('online'))",
    "document.dispatchEvent(new Event('visibilitychange'))",
]


def test_a_page_that_wakes_up_waits_no_longer(page: Page, server: ScriptedServer) -> None:
    for _ in WAKES:
        server.play("/ai/chat", [HEAD, b"retry: 60000\n\n", HELLO.frames(0, 2)])
    rest(server)
    for wake in WAKES:
        page.run("window.run = ai.stream('/ai/chat', 'Hi', { retry: { max: 60 } })")
        page.until("run.status === 'waiting'")
        page.run(wake)
        assert page.run("return run.done")["text"] == "Hello"


def test_waking_up_early_uses_up_no_attempts(page: Page, server: ScriptedServer) -> None:
    server.play("/ai/chat", [HEAD, b"retry: 60000\n\n", HELLO.frames(0, 2)])
    server.play(HELLO.events_path, *[REFUSED] * 12)
    rest(server)
    attempts = page.run("""
        const run = ai.stream("/ai/chat", "Hi", { retry: { attempts: 2, max: 60 } });
        const attempts = [];
        run.on("status", ({ status, attempt }) => status === "waiting" && attempts.push(attempt));
        for (let wakes = 1; wakes <= 13; wakes++) {
          await until(() => attempts.length === wakes);
          dispatchEvent(new Event("pageshow"));
        }
        await run.done;
        return run.text === "Hello" && attempts;
    """)
    assert attempts == [1] * 13


def test_a_page_that_is_hidden_stays_asleep_and_keeps_its_connection(
    page: Page, server: ScriptedServer
) -> None:
    gate = Gate()
    server.play("/ai/chat", [HEAD, HELLO.frames(0, 2), gate, HELLO.frames(2)])
    page.run("window.run = ai.stream('/ai/chat', 'Hi', quick); await until(() => run.text)")
    page.run("""
        Object.defineProperty(document, "visibilityState", { value: "hidden", configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    """)
    gate.open()
    assert page.run("return run.done")["text"] == "Hello"
    assert len(server.requests) == 1


def test_a_page_that_slept_longer_than_silence_allows_does_not_trust_its_connection(
    page: Page, server: ScriptedServer
) -> None:
    """Timers stand still while a phone sleeps, so the clock is asked when it wakes."""
    server.play("/ai/chat", [HEAD, HELLO.frames(0, 2), Ending.HOLD])
    rest(server)
    told = page.run("""
        const run = ai.stream("/ai/chat", "Hi", quick);
        await until(() => run.text);
        const now = Date.now;
        Date.now = () => now() + 30_000;
        dispatchEvent(new Event("pageshow"));
        return run.done;
    """)
    assert told["text"] == "Hello"
    assert len(server.requests) == 2


def test_a_page_that_wakes_up_soon_keeps_its_connection(page: Page, server: ScriptedServer) -> None:
    gate = Gate()
    server.play("/ai/chat", [HEAD, HELLO.frames(0, 2), gate, HELLO.frames(2)])
    page.run("window.run = ai.stream('/ai/chat', 'Hi', quick); await until(() => run.text)")
    page.run("dispatchEvent(new Event('pageshow'))")
    gate.open()
    assert page.run("return run.done")["text"] == "Hello"
    assert len(server.requests) == 1


def test_a_network_that_comes_back_is_used_by_pages_in_the_background_too(
    page: Page, server: ScriptedServer
) -> None:
    """Until the page is looked at again the server may have given the run up."""
    cut = Gate()
    server.play("/ai/chat", [HEAD, HELLO.frames(0, 2), cut, Ending.CUT])
    rest(server)
    page.run("window.run = ai.stream('/ai/chat', 'Hi', { retry: { base: 0.01 } })")
    page.until("run.text")
    page.run("Object.defineProperty(document, 'visibilityState', { value: 'hidden' })")
    page.offline(True)
    page.until("!navigator.onLine")
    cut.open()
    page.until("run.status === 'waiting'")
    page.offline(False)
    assert page.run("return run.done")["text"] == "Hello"


def test_a_browser_that_wrongly_says_offline_is_not_believed_for_ever(
    page: Page, server: ScriptedServer
) -> None:
    """One without any network still reaches a server on the same machine."""
    server.play("/ai/chat", [HEAD, HELLO.frames(0, 2), Ending.LAST_CHUNK])
    server.play(HELLO.events_path, *[[Ending.RESET]] * 3, [HEAD, HELLO.frames(2)])
    told = page.run("""
        Object.defineProperty(navigator, "onLine", { value: false });
        return read(ai.stream("/ai/chat", "Hi", { retry: { attempts: 1, base: 0.01, max: 0.1 } }));
    """)
    assert (told["status"], told["text"]) == ("finished", "Hello")


NO_LIMIT = ["null", "0", "Infinity", "1e9"]


def test_no_limit_can_be_said_in_several_ways(page: Page, server: ScriptedServer) -> None:
    gate = Gate()
    server.always("/ai/chat", [gate, HEAD, HELLO.frames(), Ending.LAST_CHUNK])
    page.run(f"""
        const start = (silence) => ai.stream("/ai/chat", "Hi", {{ ...quick, silence }});
        window.runs = [{", ".join(NO_LIMIT)}].map(start);
    """)
    server.wait_for(len(NO_LIMIT))
    page.run("await new Promise((resolve) => setTimeout(resolve, 50))")
    gate.open()
    assert page.run("return Promise.all(runs.map(async (run) => (await run.done).text))") == [
        "Hello"
    ] * len(NO_LIMIT)
    assert len(server.requests) == len(NO_LIMIT)
