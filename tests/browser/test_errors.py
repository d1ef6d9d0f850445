"""HTTP errors: which are final, which are tried again, and what the page is told."""

from __future__ import annotations

import email.utils
import json
import time
import typing as t

import pytest

from flask_aistream.core import events as ev
from tests.browser.conftest import Page
from tests.browser.scripted import HEAD
from tests.browser.scripted import REFUSED
from tests.browser.scripted import Ending
from tests.browser.scripted import Log
from tests.browser.scripted import Play
from tests.browser.scripted import Raw
from tests.browser.scripted import ScriptedServer
from tests.browser.scripted import answer

HELLO = Log("Hel", "lo", ev.Finished())
TOLD = {"error": {"code": "told", "message": "What was wrong."}}
READ = "return read(ai.stream('/ai/chat', 'Hi', quick))"

FINAL = [
    pytest.param(answer(404, TOLD), "told", 404, id="404"),
    pytest.param(answer(422, TOLD), "told", 422, id="422"),
    pytest.param(answer(401, b"<h1>Log in", content_type="text/html"), "http_401", 401, id="401 without JSON"),
    pytest.param(answer(403, {"error": "no"}), "http_403", 403, id="403 in another shape"),
    pytest.param(answer(502, TOLD), "told", 502, id="the provider failed before its first event"),
    pytest.param(answer(200, b"<h1>Log in", content_type="text/html"), "http_200", 200, id="a login page"),
    pytest.param(answer(204), "http_204", 204, id="204 to a start"),
]  # fmt: skip


@pytest.mark.parametrize(("play", "code", "status"), FINAL)
def test_a_start_that_is_refused_is_not_repeated(
    page: Page, server: ScriptedServer, play: t.Any, code: str, status: int
) -> None:
    server.play("/ai/chat", play)
    told = page.run(READ)
    assert (told["status"], told["reason"]) == ("failed", "error")
    assert (told["error"]["code"], told["error"]["status"]) == (code, status)
    assert told["events"] == [{"type": "end", "reason": "error", "error": told["error"]}]
    assert told["error"]["message"] == (
        "What was wrong." if code == "told" else told["error"]["message"]
    )
    assert len(server.requests) == 1


def test_a_stream_in_another_content_type_is_named(page: Page, server: ScriptedServer) -> None:
    server.play("/ai/chat", answer(200, b"<h1>Log in", content_type="text/html"))
    message = page.run(READ)["error"]["message"]
    assert message == "The server answered 200 (text/html), not an event stream."


PASSING = [
    pytest.param(answer(500, b"<h1>Oops", content_type="text/html"), id="500"),
    pytest.param(answer(502, b"", content_type="text/html"), id="502 of a proxy"),
    pytest.param(answer(503, TOLD, Retry_After="0"), id="503 with Retry-After"),
    pytest.param(answer(429, TOLD, Retry_After="0"), id="429 with Retry-After"),
    pytest.param(answer(429, TOLD), id="429"),
    pytest.param(answer(408), id="408"),
    pytest.param(answer(425), id="425"),
    pytest.param([Raw(b"HTTP/1.1 20")], id="cut off in the status"),
    pytest.param([Raw(b"HTTP/1.1 200 OK\r\nServer: x")], id="cut off before the content type"),
    pytest.param([Raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/eve")], id="cut off in it"),
]


@pytest.mark.parametrize("play", PASSING)
def test_a_start_that_may_work_later_is_repeated_under_its_key(
    page: Page, server: ScriptedServer, play: t.Any
) -> None:
    server.play("/ai/chat", play, play, [HEAD, HELLO.frames()])
    told = page.run(READ)
    assert (told["status"], told["text"]) == ("finished", "Hello")
    assert len({request.key for request in server.requests}) == 1


ON_RESUME = [
    pytest.param(answer(502, TOLD), "finished", id="502, even explained"),
    pytest.param(answer(500, b"Oops", content_type="text/plain"), "finished", id="500"),
    pytest.param(answer(200, b"<h1>Wait", content_type="text/html"), "finished", id="a page of a proxy"),
    pytest.param(answer(404, TOLD), "failed", id="404: the run is forgotten"),
    pytest.param(answer(403, TOLD), "failed", id="403"),
]  # fmt: skip


@pytest.mark.parametrize(("play", "status"), ON_RESUME)
def test_a_resume_is_given_up_only_where_the_server_knows_better(
    page: Page, server: ScriptedServer, play: t.Any, status: str
) -> None:
    server.play("/ai/chat", [HEAD, HELLO.frames(0, 2)])
    server.play(HELLO.events_path, play)
    if status == "finished":
        server.play(HELLO.events_path, [HEAD, HELLO.frames(2)])
    told = page.run(READ)
    assert told["status"] == status
    assert told["text"] == ("Hello" if status == "finished" else "Hel")


def in_seconds(seconds: float) -> str:
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


RETRY_AFTER = [
    pytest.param(lambda: "7", 7.0, 7.0, id="seconds"),
    pytest.param(lambda: in_seconds(1000), 900.0, 1000.0, id="date"),
    pytest.param(lambda: "99999999999", 3600.0, 3600.0, id="too long"),
    pytest.param(lambda: "soon", 0.0, 0.1, id="nonsense"),
]


@pytest.mark.parametrize(("value", "least", "most"), RETRY_AFTER)
def test_retry_after_is_honoured(
    page: Page, server: ScriptedServer, value: t.Callable[[], str], least: float, most: float
) -> None:
    server.play("/ai/chat", answer(503, Retry_After=value()))
    server.always("/ai/chat", [HEAD, HELLO.frames()])
    wait = page.run("""
        const run = ai.stream("/ai/chat", "Hi", quick);
        const wait = await new Promise((resolve) => run.on("status", ({ wait }) => wait && resolve(wait)));
        run.detach();
        return wait;
    """)
    assert least <= wait <= most


def test_a_page_that_wakes_up_does_not_shorten_what_the_server_asked_for(
    page: Page, server: ScriptedServer
) -> None:
    server.play("/ai/chat", answer(503, Retry_After="1"), [HEAD, HELLO.frames()])
    took = page.run("""
        const run = ai.stream("/ai/chat", "Hi", quick);
        await until(() => run.status === "waiting");
        const before = performance.now();
        dispatchEvent(new Event("pageshow"));
        await run.done;
        return performance.now() - before;
    """)
    assert took > 900


def test_a_server_that_stays_away_is_an_error_with_its_status(
    page: Page, server: ScriptedServer
) -> None:
    server.always("/ai/chat", answer(503, TOLD, Retry_After="0"))
    told = page.run(READ)
    assert (told["status"], told["error"]) == (
        "failed",
        {"code": "told", "message": "What was wrong.", "status": 503},
    )
    assert len(server.requests) == 6


def test_nobody_listening_is_an_outcome_too(page: Page, server: ScriptedServer) -> None:
    server.close()
    told = page.run(
        """
        const run = ai.stream(args[0], "Hi", quick);
        return [await run.done, run.error.code, run.status];
    """,
        "http://127.0.0.1:1/ai/chat",
    )
    outcome, code, status = told
    assert (outcome["status"], outcome["text"], code, status) == (
        "failed",
        "",
        "connection_lost",
        "failed",
    )


UNSENDABLE = [
    ("{ headers: () => { throw new Error('no token') } }", "headers_failed", "no token"),
    ("{ headers: () => new Promise(() => {}), silence: 0.1 }", "headers_failed", "0.1 seconds"),
    ("{ headers: { 'bad name': 'x' } }", "request_invalid", "headers"),
    ("{ headers: () => ({ 'x': 'a\\nb' }) }", "request_invalid", "headers"),
    ("{ method: 'no method' }", "request_invalid", "method"),
]


@pytest.mark.parametrize(("options", "code", "says"), UNSENDABLE)
def test_a_request_that_cannot_be_sent_is_a_final_fault_at_once(
    page: Page, server: ScriptedServer, options: str, code: str, says: str
) -> None:
    error = page.run(f"return (await ai.stream('/ai/chat', 'Hi', {options}).done).error")
    assert error["code"] == code
    assert says in error["message"]
    assert not server.requests


@pytest.mark.parametrize("refusals", [1, 2])
@pytest.mark.parametrize("refused", ["/ai/chat", HELLO.events_path, HELLO.stop_path])
def test_a_401_asks_for_headers_once_more(
    page: Page, server: ScriptedServer, refused: str, refusals: int
) -> None:
    stops = refused == HELLO.stop_path
    begun: Play = [HEAD, HELLO.frames(0, 2), *([Ending.HOLD] if stops else [])]
    server.play(refused, *[answer(401, TOLD)] * refusals)
    server.always("/ai/chat", begun)
    server.always(HELLO.events_path, lambda request: [HEAD, HELLO.after(request)])
    server.always(HELLO.stop_path, answer(200, {"status": "finished", "text": "Hello"}))
    told = page.run(
        """
        let n = 0;
        const headers = () => ({ Authorization: `Bearer ${++n}` });
        const run = ai.stream("/ai/chat", "Hi", { ...quick, headers });
        if (args[0]) until(() => run.text).then(() => run.stop());
        return read(run);
        """,
        stops,
    )
    # A run that may not be stopped is read on.
    assert told["status"] == ("finished" if refusals == 1 or stops else "failed")
    assert len(server.asked(refused)) == 2
    tokens = [request.headers["authorization"] for request in server.requests]
    assert tokens == [f"Bearer {n + 1}" for n in range(len(tokens))]


DECIDED = [
    pytest.param("'stop'", 1, "failed", id="stop"),
    pytest.param("'retry'", 2, "finished", id="retry, though it is final"),
    pytest.param("0.01", 2, "finished", id="seconds"),
    pytest.param("undefined", 1, "failed", id="nothing: the rule of the client"),
    pytest.param("Promise.resolve('retry')", 2, "finished", id="retry, later"),
    pytest.param("Promise.resolve(undefined)", 1, "failed", id="nothing, later"),
    pytest.param("NaN", 1, "failed", id="no number"),
    pytest.param("-1", 1, "failed", id="a time in the past"),
    pytest.param("'again'", 1, "failed", id="another word"),
]


@pytest.mark.parametrize(("verdict", "requests", "status"), DECIDED)
def test_the_page_may_decide_what_a_fault_means(
    page: Page, server: ScriptedServer, verdict: str, requests: int, status: str
) -> None:
    server.play("/ai/chat", answer(422, TOLD), [HEAD, HELLO.frames()])
    told = page.run(f"""
        const asked = [];
        const decide = (fault) => (asked.push(fault), {verdict});
        const run = ai.stream("/ai/chat", "Hi", {{ retry: {{ ...quick.retry, decide }} }});
        const {{ status }} = await run.done;
        const {{ code, final, attempt, response }} = asked[0];
        return {{ status, code, final, attempt, body: await run.response.text(), same: response === run.response }};
    """)
    assert told == {
        "status": status, "code": "told", "final": True, "attempt": 1,
        "body": json.dumps(TOLD), "same": True,
    }  # fmt: skip
    assert len(server.requests) == requests


@pytest.mark.parametrize("how", ["throw new Error('oh')", "return Promise.reject(new Error('oh'))"])
def test_a_rule_of_the_page_that_fails_ends_the_run(
    page: Page, server: ScriptedServer, how: str
) -> None:
    server.play("/ai/chat", REFUSED)
    told = page.run(
        f"return ai.stream('/ai/chat', 'Hi', {{ retry: {{ decide() {{ {how}; }} }} }}).done"
    )
    assert told["error"]["code"] == "decide_failed"
    assert "oh" in told["error"]["message"]


MISSING = [
    "null",
    "undefined",
    "{ retry: undefined, silence: undefined }",
    "{ retry: null, headers: null, fetch: null, signal: null, persist: null, keep: null }",
    "{ retry: { max: undefined }, credentials: undefined }",
    "{ retry: { base: undefined, decide: undefined }, method: undefined, key: undefined }",
    "{ retry: { base: null, max: null, attempts: null, decide: null } }",
    "{ retry: { base: NaN, max: NaN, attempts: NaN }, silence: NaN }",
    "{ retry: { base: -1, max: 'x', attempts: {} }, silence: -1 }",
    "{ headers: () => undefined }",
    "{ headers: () => null }",
]


def test_a_missing_option_is_the_default(page: Page, server: ScriptedServer) -> None:
    for _ in MISSING:
        server.play("/ai/chat", REFUSED, [HEAD, HELLO.frames()])
    told = page.run(f"""
        const told = [];
        for (const options of [{", ".join(MISSING)}]) {{
          const run = ai.stream("/ai/chat", "Hi", options);
          const wait = await new Promise((resolve) => run.on("status", ({{ wait }}) => wait && resolve(wait)));
          dispatchEvent(new Event("pageshow"));
          told.push([0.5 <= wait && wait <= 1, (await run.done).text]);
        }}
        return told;
    """)
    assert told == [[True, "Hello"]] * len(MISSING)


def test_a_failed_run_throws_nowhere(page: Page, server: ScriptedServer) -> None:
    """Not even for a page that looks at neither the events nor the outcome."""
    server.play("/ai/chat", answer(404, TOLD))
    page.run("window.run = ai.stream('/ai/chat', 'Hi', quick)")
    page.until("run.status === 'failed'")
    assert page.run("return run.error.code") == "told"


def test_an_endless_error_body_does_not_hang_the_run(page: Page, server: ScriptedServer) -> None:
    head = b"HTTP/1.1 404 Scripted\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
    server.always("/ai/chat", [Raw(head), Ending.HOLD])
    told = page.run("return read(ai.stream('/ai/chat', 'Hi', { ...quick, silence: 0.2 }))")
    assert told["error"]["code"] == "http_404"
