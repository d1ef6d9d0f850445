"""HTTP errors: which are final, which are tried again, and what the page is told."""

from __future__ import annotations

import email.utils
import json
import time
import typing as t
from collections.abc import Callable

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

FINAL: dict[str, tuple[Play, str, int]] = {
    "404": (answer(404, TOLD), "told", 404),
    "422": (answer(422, TOLD), "told", 422),
    "401 without JSON": (answer(401, b"<h1>Log in", content_type="text/html"), "http_401", 401),
    "403 in another shape": (answer(403, {"error": "no"}), "http_403", 403),
    "the provider failed before its first event": (answer(502, TOLD), "told", 502),
    "a login page": (answer(200, b"<h1>Log in", content_type="text/html"), "http_200", 200),
    "204 to a start": (answer(204), "http_204", 204),
}  # fmt: skip


READ_EACH = """
const told = [];
for (let n = 0; n < args[0]; n++) told.push(await read(ai.stream(`/ai/${n}`, "Hi", quick)));
return told;
"""


def read_each(page: Page, server: ScriptedServer, plays: list[list[Play]]) -> list[t.Any]:
    """What a run says of each list of plays; the n-th list is played at ``/ai/n``, all on one page."""
    for n, listed in enumerate(plays):
        server.play(f"/ai/{n}", *listed)
    return t.cast("list[t.Any]", page.run(READ_EACH, len(plays)))


def test_a_start_that_is_refused_is_not_repeated(page: Page, server: ScriptedServer) -> None:
    answers = read_each(page, server, [[play] for play, _, _ in FINAL.values()])
    for (name, (_, code, status)), told in zip(FINAL.items(), answers, strict=True):
        assert (told["status"], told["reason"]) == ("failed", "error"), name
        assert (told["error"]["code"], told["error"]["status"]) == (code, status)
        assert told["events"] == [{"type": "end", "reason": "error", "error": told["error"]}]
        assert (told["error"]["message"] == "What was wrong.") == (code == "told")
    assert len(server.requests) == len(FINAL)


def test_a_stream_in_another_content_type_is_named(page: Page, server: ScriptedServer) -> None:
    server.play("/ai/chat", answer(200, b"<h1>Log in", content_type="text/html"))
    message = page.run(READ)["error"]["message"]
    assert message == "The server answered 200 (text/html), not an event stream."


PASSING: dict[str, Play] = {
    "500": (answer(500, b"<h1>Oops", content_type="text/html")),
    "502 of a proxy": (answer(502, b"", content_type="text/html")),
    "503 with Retry-After": (answer(503, TOLD, Retry_After="0")),
    "429 with Retry-After": (answer(429, TOLD, Retry_After="0")),
    "429": (answer(429, TOLD)),
    "408": (answer(408)),
    "425": (answer(425)),
    "cut off in the status": ([Raw(b"HTTP/1.1 20")]),
    "cut off before the content type": ([Raw(b"HTTP/1.1 200 OK\r\nServer: x")]),
    "cut off in it": ([Raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/eve")]),
}


def test_a_start_that_may_work_later_is_repeated_under_its_key(
    page: Page, server: ScriptedServer
) -> None:
    whole: Play = [HEAD, HELLO.frames()]
    answers = read_each(page, server, [[play, play, whole] for play in PASSING.values()])
    for n, (name, told) in enumerate(zip(PASSING, answers, strict=True)):
        assert (told["status"], told["text"]) == ("finished", "Hello"), name
        assert len({request.key for request in server.asked(f"/ai/{n}")}) == 1


ON_RESUME: dict[str, tuple[Play, str]] = {
    "502, even explained": (answer(502, TOLD), "finished"),
    "500": (answer(500, b"Oops", content_type="text/plain"), "finished"),
    "a page of a proxy": (answer(200, b"<h1>Wait", content_type="text/html"), "finished"),
    "404: the run is forgotten": (answer(404, TOLD), "failed"),
    "403": (answer(403, TOLD), "failed"),
}  # fmt: skip


def test_a_resume_is_given_up_only_where_the_server_knows_better(
    page: Page, server: ScriptedServer
) -> None:
    starts: list[list[Play]] = []
    for n, (play, status) in enumerate(ON_RESUME.values()):
        log = Log("Hel", "lo", ev.Finished(), base=f"/run/{n}")
        starts.append([[HEAD, log.frames(0, 2)]])
        server.play(log.events_path, play)
        if status == "finished":
            server.play(log.events_path, [HEAD, log.frames(2)])
    answers = read_each(page, server, starts)
    for (name, (_, status)), told in zip(ON_RESUME.items(), answers, strict=True):
        assert told["status"] == status, name
        assert told["text"] == ("Hello" if told["status"] == "finished" else "Hel")


def in_seconds(seconds: float) -> str:
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


RETRY_AFTER: dict[str, tuple[Callable[[], str], float, float]] = {
    "seconds": (lambda: "7", 7.0, 7.0),
    "date": (lambda: in_seconds(1000), 900.0, 1000.0),
    "too long": (lambda: "99999999999", 3600.0, 3600.0),
    "nonsense": (lambda: "soon", 0.0, 0.1),
}


def test_retry_after_is_honoured(page: Page, server: ScriptedServer) -> None:
    for n, (value, _, _) in enumerate(RETRY_AFTER.values()):
        server.play(f"/ai/{n}", answer(503, Retry_After=value()))
    server.always("/ai/", [HEAD, HELLO.frames()])
    waits = page.run(
        """
        const waits = [];
        for (let n = 0; n < args[0]; n++) {
          const run = ai.stream(`/ai/${n}`, "Hi", quick);
          waits.push(await new Promise((resolve) => run.on("status", ({ wait }) => wait && resolve(wait))));
          run.detach();
        }
        return waits;
        """,
        len(RETRY_AFTER),
    )
    for (name, (_, least, most)), wait in zip(RETRY_AFTER.items(), waits, strict=True):
        assert least <= wait <= most, name


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
    ("{ headers: async () => { throw 'a word' } }", "headers_failed", "a word"),
    ("{ headers: [['x']] }", "request_invalid", "headers"),
    ("{ headers: () => 5 }", "request_invalid", "headers"),
    ("{ method: 'no method' }", "request_invalid", "method"),
    ("{ method: 'TRACE' }", "request_invalid", "method"),
    ("{ credentials: 'always' }", "request_invalid", "cannot be sent"),
]


def test_a_request_that_cannot_be_sent_is_a_final_fault_at_once(
    page: Page, server: ScriptedServer
) -> None:
    errors = page.run(f"""
        const all = [{", ".join(options for options, _, _ in UNSENDABLE)}];
        return Promise.all(all.map(async (options) => (await ai.stream("/ai/chat", "Hi", options).done).error));
    """)
    for (_, code, says), error in zip(UNSENDABLE, errors, strict=True):
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


FORBIDDING = """<!doctype html><link rel="icon" href="data:,">
<script type="module">
  import * as ai from "/ai/static/aistream.js";
  window.ai = ai;
  window.faults = [];
</script>"""


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_request_that_the_policy_of_the_page_forbids_is_a_final_fault_at_once(
    page: Page, server: ScriptedServer, method: str
) -> None:
    policy = "default-src 'none'; script-src 'self' 'unsafe-inline'; connect-src 'self'"
    html = answer(
        200, FORBIDDING.encode(), content_type="text/html", Content_Security_Policy=policy
    )
    server.play("/page-with-policy", html)
    page.browser.get(server.url("/page-with-policy"))
    page.until("window.ai")
    told = page.run(
        """
        const run = ai.stream(args[0], "Hi", { method: args[1] });
        return [await run.done, await run.stop()];
        """,
        server.url("/ai/chat", "localhost"),
        method,
    )
    assert told[0]["error"]["code"] == "request_blocked"
    assert f"add http://localhost:{server.port} to connect-src." in told[0]["error"]["message"]
    assert told[1] is None
    assert server.asked("/ai/chat") == []


def test_a_policy_that_only_reports_forbids_nothing(page: Page, server: ScriptedServer) -> None:
    reports = {"Content_Security_Policy_Report_Only": "connect-src 'none'"}
    html = answer(200, FORBIDDING.encode(), content_type="text/html", **reports)
    server.play("/page-with-policy", html)
    page.browser.get(server.url("/page-with-policy"))
    page.until("window.ai")
    server.play("/ai/chat", REFUSED, [HEAD, HELLO.frames()])
    told = page.run("return ai.stream('/ai/chat', 'Hi', { retry: { base: 0.01 } }).done")
    assert told["text"] == "Hello"


DECIDED: dict[str, tuple[str, int, str]] = {
    "stop": ("'stop'", 1, "failed"),
    "retry, though it is final": ("'retry'", 2, "finished"),
    "seconds": ("0.01", 2, "finished"),
    "nothing: the rule of the client": ("undefined", 1, "failed"),
    "retry, later": ("Promise.resolve('retry')", 2, "finished"),
    "nothing, later": ("Promise.resolve(undefined)", 1, "failed"),
    "no number": ("NaN", 1, "failed"),
    "a time in the past": ("-1", 1, "failed"),
    "another word": ("'again'", 1, "failed"),
}


def test_the_page_may_decide_what_a_fault_means(page: Page, server: ScriptedServer) -> None:
    for n in range(len(DECIDED)):
        server.play(f"/ai/{n}", answer(422, TOLD), [HEAD, HELLO.frames()])
    verdicts = ", ".join(f"() => {verdict}" for verdict, _, _ in DECIDED.values())
    answers = page.run(f"""
        return Promise.all([{verdicts}].map(async (verdict, n) => {{
          const asked = [];
          const decide = (fault) => (asked.push(fault), verdict());
          const run = ai.stream(`/ai/${{n}}`, "Hi", {{ retry: {{ ...quick.retry, decide }} }});
          const {{ status }} = await run.done;
          const {{ code, final, attempt, response }} = asked[0];
          return {{ status, code, final, attempt, body: await run.response.text(), same: response === run.response }};
        }}));
    """)
    for n, ((name, (_, requests, status)), told) in enumerate(
        zip(DECIDED.items(), answers, strict=True)
    ):
        assert told == {
            "status": status, "code": "told", "final": True, "attempt": 1,
            "body": json.dumps(TOLD), "same": True,
        }, name  # fmt: skip
        assert len(server.asked(f"/ai/{n}")) == requests


def test_a_rule_of_the_page_that_fails_ends_the_run(page: Page, server: ScriptedServer) -> None:
    server.always("/ai/chat", REFUSED)
    errors = page.run("""
        const rules = [() => { throw new Error("oh"); }, async () => { throw new Error("oh"); }];
        return Promise.all(rules.map(async (decide) => (await ai.stream("/ai/chat", "Hi", { retry: { decide } }).done).error));
    """)
    assert [error["code"] for error in errors] == ["decide_failed"] * 2
    assert all("oh" in error["message"] for error in errors)


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
