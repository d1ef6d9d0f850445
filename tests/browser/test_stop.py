"""Stop is a state: what it does depends only on what the server may have received."""

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

STOPPED = Log("Hel", ev.Stopped())
ANSWER = {"run": "r1", "status": "stopped", "stopped": True, "text": "Hello"}
FOUND = {"error": {"code": "x", "message": "X"}}
STREAMING = "window.run = ai.stream('/ai/chat', 'Hi', quick); window.told = read(run); await until(() => run.text);"
BRIEF = "{ retry: { ...quick.retry, attempts: 1 } }"


def test_the_run_ends_with_what_the_answer_says(page: Page, server: ScriptedServer) -> None:
    """Its own connection is freed first, and never speaks again."""
    server.play("/ai/chat", [HEAD, STOPPED.frames(0, 2), Ending.HOLD])
    server.play(STOPPED.stop_path, answer(200, ANSWER))
    page.run(STREAMING + "window.seen = watch(run);")
    assert page.run("return Promise.all([run.stop(), run.stop()])") == [ANSWER, ANSWER]
    told = page.run("return told")
    assert (told["status"], told["reason"], told["text"]) == ("stopped", "stopped", "Hello")
    assert [event.get("text") for event in told["events"]] == [None, "Hel", "lo", None]
    assert page.run("return seen") == ["stopping", "stopped"]
    [stop] = server.asked(STOPPED.stop_path)
    assert (stop.method, stop.body) == ("POST", b"")
    assert server.requests[0].left.wait(5)
    assert page.run("return run.stop()") is None


ANSWERS: dict[str, tuple[object, str, str]] = {
    "it had finished": ({"status": "finished", "end": {"reason": "length"}}, "finished", "length"),
    "it was interrupted": ({"status": "interrupted", "end": {}}, "interrupted", "interrupted"),
    "it had failed": ({"status": "failed", "end": {"code": "x", "message": "X"}}, "failed", "error"),
    "another server's answer": ({}, "stopped", "stopped"),
    "it is still ending": ({"status": "running"}, "stopped", "stopped"),
}  # fmt: skip


def test_a_run_that_had_ended_otherwise_says_how(page: Page, server: ScriptedServer) -> None:
    for n, (body, _, _) in enumerate(ANSWERS.values()):
        log = Log("Hel", ev.Stopped(), base=f"/run/{n}")
        server.play(f"/ai/{n}", [HEAD, log.frames(0, 2), Ending.HOLD])
        server.play(log.stop_path, answer(200, body))
    outcomes = page.run(
        """
        const told = [];
        for (let n = 0; n < args[0]; n++) {
          const run = ai.stream(`/ai/${n}`, "Hi", quick);
          await until(() => run.text);
          run.stop();
          told.push(await run.done);
        }
        return told;
        """,
        len(ANSWERS),
    )
    for (name, (_, status, reason)), told in zip(ANSWERS.items(), outcomes, strict=True):
        assert (told["status"], told["reason"], told["text"]) == (status, reason, "Hel"), name


REFUSALS = [
    pytest.param(answer(429, FOUND, Retry_After="1"), id="429"),
    pytest.param(answer(503, FOUND, Retry_After="3600"), id="503"),
    pytest.param(answer(500), id="500"),
]


@pytest.mark.parametrize("play", REFUSALS)
def test_after_a_refused_start_nothing_is_sent_any_more(
    page: Page, server: ScriptedServer, play: Play
) -> None:
    server.play("/ai/chat", play)
    page.run("window.run = ai.stream('/ai/chat', 'Hi', { retry: { base: 0.3 } })")
    page.until("run.status === 'waiting'")
    assert page.run("const stopped = run.stop(); return [run.status, await stopped]") == [
        "stopped",
        None,
    ]
    page.run("await new Promise((resolve) => setTimeout(resolve, 400))")
    assert len(server.requests) == 1


BEFORE = [
    pytest.param("{}", id="in the same tick"),
    pytest.param("{ headers: () => new Promise(() => {}) }", id="while the headers are asked for"),
]


@pytest.mark.parametrize("options", BEFORE)
def test_before_the_first_request_nothing_is_sent(
    page: Page, server: ScriptedServer, options: str
) -> None:
    told = page.run(f"""
        const run = ai.stream("/ai/chat", "Hi", {options});
        {"" if options == "{}" else "await Promise.resolve().then(() => {});"}
        return [await run.stop(), (await run.done).status];
    """)
    assert told == [None, "stopped"]
    assert not server.requests


def test_a_start_that_is_on_its_way_is_waited_for(page: Page, server: ScriptedServer) -> None:
    start = Gate()
    server.play("/ai/chat", [start, HEAD, STOPPED.frames(0, 1), Ending.HOLD])
    server.play(STOPPED.stop_path, answer(200, ANSWER))
    page.run("window.run = ai.stream('/ai/chat', 'Hi', quick)")
    assert start.reached.wait(5)
    page.run("window.stopped = run.stop()")
    assert page.run("return run.status") == "stopping"
    start.open()
    told = page.run("return Promise.all([stopped, run.done])")
    assert (told[0], told[1]["status"], told[1]["text"]) == (ANSWER, "stopped", "Hello")


UNNAMED = [
    pytest.param([answer(200, ANSWER)], ANSWER, "Hello", id="it has started"),
    pytest.param([answer(404, FOUND), answer(200, ANSWER)], ANSWER, "", id="it starts late"),
    pytest.param([answer(404, FOUND)] * 2, None, "", id="it has not", marks=pytest.mark.nightly),
    pytest.param([answer(405)], "http_405", "", id="another server"),
]


@pytest.mark.parametrize(("plays", "answered", "text"), UNNAMED)
def test_a_start_whose_reply_is_lost_is_stopped_by_its_key(
    page: Page, server: ScriptedServer, plays: list[Play], answered: object, text: str
) -> None:
    """And not sent again: that might start what it is to stop."""
    server.play("/ai/chat", [Ending.RESET], *plays)
    page.run("window.run = ai.stream('/ai/chat', 'Hi', { retry: { base: 60, max: 60 } })")
    page.until("run.status === 'waiting'")
    told, outcome = page.run("return Promise.all([run.stop(), run.done])")
    assert (told["error"]["code"] if isinstance(answered, str) else told) == answered
    assert (outcome["status"], outcome["text"]) == ("stopped", text)
    start, *stops = server.requests
    assert [(stop.method, stop.key) for stop in stops] == [("DELETE", start.key)] * len(plays)


def test_while_it_waits_to_reconnect_it_waits_no_longer(page: Page, server: ScriptedServer) -> None:
    server.play("/ai/chat", [HEAD, STOPPED.frames(0, 2)])
    server.play(STOPPED.events_path, answer(503, Retry_After="3600"))
    server.play(STOPPED.stop_path, answer(200, ANSWER))
    page.run("window.run = ai.stream('/ai/chat', 'Hi', quick);")
    page.until("run.error || run.response")
    assert page.run("await run.stop(); return run.done")["text"] == "Hello"


def test_a_stop_that_does_not_arrive_is_repeated_while_the_page_shows_stopped(
    page: Page, server: ScriptedServer
) -> None:
    gate = Gate()
    server.play("/ai/chat", [HEAD, STOPPED.frames(0, 2), Ending.HOLD])
    server.play(STOPPED.stop_path, [Ending.RESET], answer(502), [gate, *answer(200, ANSWER)])
    page.run(STREAMING + "window.stopped = run.stop();")
    assert page.run("return told")["status"] == "stopped"
    assert gate.reached.wait(5)
    gate.open()
    assert page.run("return stopped") == ANSWER


@pytest.mark.parametrize("first", ["it has a name", "it has none"])
def test_offline_it_is_kept_until_the_network_is_back(
    page: Page, server: ScriptedServer, first: str
) -> None:
    """The page shows it at once."""
    has_name = first == "it has a name"
    server.play(
        "/ai/chat", [HEAD, STOPPED.frames(0, 2), Ending.HOLD] if has_name else [Ending.HOLD]
    )
    server.play(STOPPED.stop_path if has_name else "/ai/chat", answer(200, ANSWER))
    page.run("window.run = ai.stream('/ai/chat', 'Hi', quick); window.told = read(run)")
    server.wait_for(1)
    if has_name:
        page.until("run.text")
    page.offline(True)
    page.until("!navigator.onLine")
    took = page.run("""
        const before = performance.now();
        window.stopped = run.stop();
        await told;
        return performance.now() - before;
    """)
    assert took < 500
    assert page.run("return run.status") == "stopped"
    assert len(server.requests) == 1
    page.offline(False)
    assert page.run("return stopped") == ANSWER


RELOADS = [
    pytest.param("", "", None, id="the page only loads the client"),
    pytest.param(
        "", "ai.resume('chat', { headers: { Authorization: 'new' } })", "new", id="it resumes"
    ),
    pytest.param("persist: 'chat',", "ai.resume('chat')", None, id="it resumes the run itself"),
]


@pytest.mark.parametrize(("persist", "load", "token"), RELOADS)
def test_a_stop_without_an_answer_is_sent_again_after_a_reload(
    page: Page, server: ScriptedServer, persist: str, load: str, token: str | None
) -> None:
    server.play("/ai/chat", [HEAD, STOPPED.frames(0, 2), Ending.HOLD])
    server.play(STOPPED.stop_path, REFUSED, answer(200, ANSWER))
    page.run(f"""
        const options = {{ {persist} retry: {{ base: 60, max: 60 }} }};
        window.run = ai.stream("/ai/chat", "Hi", options);
        await until(() => run.text);
        run.stop();
        await run.done;
    """)
    page.open()
    assert page.run(f"return {load or 'null'}") is None
    again = server.wait_for(2, STOPPED.stop_path)
    assert (again.method, again.headers.get("authorization")) == ("POST", token)
    page.until("sessionStorage.length === 0")


def test_a_stop_whose_headers_fail_once_is_sent_all_the_same(
    page: Page, server: ScriptedServer
) -> None:
    server.play("/ai/chat", [HEAD, STOPPED.frames(0, 2), Ending.HOLD])
    server.play(STOPPED.stop_path, answer(200, ANSWER))
    told = page.run("""
        let fails = 0;
        const headers = () => { if (fails-- > 0) throw new Error("no token"); return {}; };
        const run = ai.stream("/ai/chat", "Hi", { ...quick, headers });
        await until(() => run.text);
        fails = 1;
        return [await run.stop(), (await run.done).status];
    """)
    assert told == [ANSWER, "stopped"]


def test_a_stop_that_never_arrives_is_answered_not_thrown(
    page: Page, server: ScriptedServer
) -> None:
    server.play("/ai/chat", [HEAD, STOPPED.frames(0, 2), Ending.HOLD])
    server.play(STOPPED.stop_path, *[REFUSED] * 2)
    page.run(STREAMING.replace("quick", BRIEF))
    assert page.run("return run.stop()")["error"]["code"] == "connection_lost"
    assert page.run("return run.status") == "stopped"


def test_a_stop_that_is_refused_leaves_the_run_as_it_is(page: Page, server: ScriptedServer) -> None:
    rest = Log("Hel", "lo", ev.Finished())
    server.play("/ai/chat", [HEAD, rest.frames(0, 2), Ending.HOLD])
    server.play(rest.stop_path, answer(403, FOUND))
    server.play(rest.events_path, lambda request: [HEAD, rest.after(request)])
    page.run(STREAMING)
    assert page.run("return run.stop()")["error"]["code"] == "x"
    told = page.run("return told")
    assert (told["status"], told["text"]) == ("finished", "Hello")


LEFT = [
    pytest.param("run.detach();", "detached", id="it was left"),
    pytest.param("", "failed", id="it could not be read any more"),
]


@pytest.mark.parametrize(("leave", "status"), LEFT)
def test_a_run_that_is_read_no_more_can_still_be_stopped(
    page: Page, server: ScriptedServer, leave: str, status: str
) -> None:
    server.play(
        "/ai/chat",
        [HEAD, STOPPED.frames(0, 2), Ending.HOLD if leave else Ending.LAST_CHUNK],
    )
    server.always(STOPPED.events_path, REFUSED)
    server.play(STOPPED.stop_path, answer(200, ANSWER))
    page.run(STREAMING.replace("quick", BRIEF) + leave)
    assert page.run("return told")["status"] == status
    assert page.run("return run.stop()") == ANSWER
