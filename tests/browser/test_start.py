"""How a run starts, what it says, and that it is started once."""

from __future__ import annotations

import typing as t

import pytest

from flask_aistream.core import events as ev
from tests.browser.conftest import Page
from tests.browser.scripted import CORS
from tests.browser.scripted import HEAD
from tests.browser.scripted import Ending
from tests.browser.scripted import Gate
from tests.browser.scripted import Log
from tests.browser.scripted import Play
from tests.browser.scripted import Raw
from tests.browser.scripted import ScriptedServer
from tests.browser.scripted import answer

HELLO = Log("Hel", "lo", ev.Finished())


def test_text_comes_as_events_and_adds_up(page: Page, server: ScriptedServer) -> None:
    server.play("/ai/chat", [HEAD, HELLO.frames()])
    told = page.run("return read(ai.stream('/ai/chat', { prompt: 'Hi' }))")
    assert [event["type"] for event in told["events"]] == ["run", "text", "text", "end"]
    assert [event.get("text") for event in told["events"]] == [None, "Hel", "lo", None]
    assert told["events"][-1] == {"type": "end", "reason": "stop"}
    assert (told["status"], told["reason"], told["text"]) == ("finished", "stop", "Hello")
    assert (told["now"], told["shown"], told["id"]) == ("finished", "Hello", "r1")


EVENTS: list[tuple[t.Any, dict[str, t.Any]]] = [
    (ev.Reasoning("hm"), {"type": "reasoning", "text": "hm"}),
    (ev.ToolCallStarted("c1", "f"), {"type": "tool-call-started", "id": "c1", "name": "f"}),
    (ev.ToolCallArguments("c1", '{"a'), {"type": "tool-call-arguments", "id": "c1", "delta": '{"a'}),
    (ev.ToolCall("c1", "f", {"a": 1}), {"type": "tool-call", "id": "c1", "name": "f", "arguments": {"a": 1}}),
    (ev.ToolApproval("c2", "f", {}), {"type": "tool-approval", "id": "c2", "name": "f", "arguments": {}}),
    (ev.ToolResult("c1", [1]), {"type": "tool-result", "id": "c1", "result": [1]}),
    (ev.ToolError("c1", "no"), {"type": "tool-error", "id": "c1", "message": "no"}),
    (ev.SourceUrl("s", "http://x", "X"), {"type": "source-url", "id": "s", "url": "http://x", "title": "X"}),
    (ev.File("data:,x", "text/plain"), {"type": "file", "url": "data:,x", "media_type": "text/plain"}),
    (ev.Data("weather", {"t": 3}), {"type": "data", "name": "weather", "value": {"t": 3}}),
    (ev.Usage(1, 2), {"type": "usage", "input_tokens": 1, "output_tokens": 2}),
    (ev.StepStarted("plan"), {"type": "step-started", "name": "plan"}),
]  # fmt: skip


def test_every_other_event_is_its_data_and_its_type(page: Page, server: ScriptedServer) -> None:
    log = Log(*(event for event, _ in EVENTS), ev.Finished("length"))
    server.play("/ai/chat", [HEAD, log.frames()])
    told = page.run("return read(ai.stream('/ai/chat', 'Hi'))")
    assert told["events"][1:-1] == [expected for _, expected in EVENTS]
    assert told["reason"] == "length"


def test_usage_adds_up_field_by_field(page: Page, server: ScriptedServer) -> None:
    log = Log(
        ev.Usage(input_tokens=5),
        ev.Usage(output_tokens=7),
        ev.Usage(output_tokens=9),
        ev.Finished(),
    )
    server.play("/ai/chat", [HEAD, log.frames()])
    told = page.run("return read(ai.stream('/ai/chat', 'Hi'))")
    assert told["usage"] == {"input_tokens": 5, "output_tokens": 9}


ENDS = [
    (ev.Finished("content-filter"), "finished", "content-filter"),
    (ev.Stopped("detach"), "stopped", "stopped"),
    (ev.Interrupted(), "interrupted", "interrupted"),
    (ev.Failed("overloaded", "Too much."), "failed", "error"),
]


@pytest.mark.parametrize(("event", "status", "reason"), ENDS)
def test_only_the_log_says_how_a_run_ended(
    page: Page, server: ScriptedServer, event: ev.Event, status: str, reason: str
) -> None:
    server.play("/ai/chat", [HEAD, Log("a", event).frames()])
    told = page.run("return read(ai.stream('/ai/chat', 'Hi'))")
    assert (told["status"], told["reason"], told["text"]) == (status, reason, "a")
    assert told["events"][-1]["reason"] == reason
    assert len(server.requests) == 1


def test_a_failure_comes_with_the_end_it_announces(page: Page, server: ScriptedServer) -> None:
    server.play("/ai/chat", [HEAD, Log(ev.Failed("overloaded", "Too much.")).frames()])
    told = page.run("return read(ai.stream('/ai/chat', 'Hi'))")
    error = {"code": "overloaded", "message": "Too much."}
    assert told["error"] == error
    assert told["events"][1:] == [{"type": "end", "reason": "error", "error": error}]


INPUTS = [
    ("{ prompt: 'Hi', model: 'm' }", "POST", {}, {"prompt": "Hi", "model": "m"}),
    ("'Hi'", "POST", {}, {"prompt": "Hi"}),
    ("null", "GET", {}, None),
    ("undefined", "GET", {}, None),
    ("{ prompt: 'ä & b', n: 2, no: null, messages: [1] }, { method: 'get' }", "GET",
     {"prompt": "ä & b", "n": "2", "messages": "[1]"}, None),
    ("null, { method: 'POST' }", "POST", {}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "method", "query", "body"), INPUTS)
def test_the_input_is_sent_as_json_or_in_the_query(
    page: Page, server: ScriptedServer, arguments: str, method: str, query: object, body: object
) -> None:
    server.play("/ai/chat", [HEAD, HELLO.frames()])
    page.run(f"return read(ai.stream('/ai/chat?a=1', {arguments}))")
    [request] = server.requests
    assert request.method == method
    assert {name: value for name, value in request.query.items() if name != "a"} == query
    assert request.query["a"] == "1"
    assert (request.json if request.body else None) == body
    assert request.headers["accept"] == "text/event-stream, application/json"
    assert request.headers.get("content-type") == (None if body is None else "application/json")


def test_headers_are_asked_for_at_every_request(page: Page, server: ScriptedServer) -> None:
    """A token that runs out in the middle of a long answer is renewed when it is needed."""
    server.play("/ai/chat", [HEAD, HELLO.frames(0, 2)])
    server.play(HELLO.events_path, lambda request: [HEAD, HELLO.after(request)])
    page.run("""
        let n = 0;
        const headers = async () => ({ Authorization: `Bearer ${++n}` });
        return read(ai.stream("/ai/chat", "Hi", { ...quick, headers }));
    """)
    assert [r.headers["authorization"] for r in server.requests] == ["Bearer 1", "Bearer 2"]


def test_links_are_resolved_against_the_server_that_gave_them(
    page: Page, server: ScriptedServer
) -> None:
    server.play("/ai/chat", [HEAD, HELLO.frames(0, 2)])
    server.play(HELLO.events_path, lambda request: [HEAD, HELLO.after(request)])
    elsewhere = server.url("/ai/chat", "localhost")
    told = page.run("return read(ai.stream(args[0], 'Hi', quick))", elsewhere)
    assert told["text"] == "Hello"
    assert [r.headers["host"] for r in server.requests] == [f"localhost:{server.port}"] * 2
    assert server.requests[1].last_event_id == "r1:1"


LOST = [
    pytest.param([Ending.RESET], id="before the reply"),
    pytest.param([HEAD, Ending.CUT], id="after its head"),
    pytest.param([HEAD, Log("a").frames()[:40], Ending.CUT], id="inside the run event"),
]


@pytest.mark.parametrize("lost", LOST)
def test_a_start_whose_reply_is_lost_is_retried_under_its_key(
    page: Page, server: ScriptedServer, lost: list[t.Any]
) -> None:
    server.play("/ai/chat", lost, lost, [HEAD, HELLO.frames()])
    told = page.run("return read(ai.stream('/ai/chat', 'Hi', quick))")
    assert told["text"] == "Hello"
    assert len({request.key for request in server.requests}) == 1
    assert {request.method for request in server.requests} == {"POST"}
    assert all(request.json == {"prompt": "Hi"} for request in server.requests)


def test_each_start_has_a_key_of_its_own_unless_it_is_given_one(
    page: Page, server: ScriptedServer
) -> None:
    whole: Play = [HEAD, HELLO.frames()]
    server.play("/ai/chat", whole, whole, whole)
    page.run("""
        await read(ai.stream("/ai/chat", "Hi"));
        await read(ai.stream("/ai/chat", "Hi"));
        await read(ai.stream("/ai/chat", "Hi", { key: "mine" }));
    """)
    one, two, three = (request.key for request in server.requests)
    assert one is not None
    assert two is not None
    assert one != two
    assert len(one) == 32
    assert three == "mine"


def test_after_the_run_event_nothing_is_started_again(page: Page, server: ScriptedServer) -> None:
    server.play("/ai/chat", [HEAD, HELLO.frames(0, 1)])
    server.play(HELLO.events_path, lambda request: [HEAD, HELLO.after(request)])
    told = page.run("return read(ai.stream('/ai/chat', 'Hi', quick))")
    assert told["text"] == "Hello"
    assert [(r.method, r.last_event_id) for r in server.requests] == [
        ("POST", None),
        ("GET", "r1:0"),
    ]
    assert server.requests[1].key is None


def test_a_stream_without_cursors_cannot_be_resumed_and_says_so(
    page: Page, server: ScriptedServer
) -> None:
    """Another server's stream: asking again would run it again."""
    server.play("/other", [HEAD, b'data: {"text":"a"}\n\n'])
    told = page.run("return read(ai.stream('/other', 'Hi', quick))")
    assert (told["status"], told["error"]["code"], told["text"]) == ("failed", "not_resumable", "a")
    assert len(server.requests) == 1


def test_a_run_is_read_from_its_first_event_by_everyone_who_asks(
    page: Page, server: ScriptedServer
) -> None:
    gate = Gate()
    server.play("/ai/chat", [HEAD, HELLO.frames(0, 2), gate, HELLO.frames(2)])
    page.run(
        "window.run = ai.stream('/ai/chat', 'Hi'); window.early = read(run); await until(() => run.text)"
    )
    page.run("for await (const event of run) if (event.type === 'text') break;")
    gate.open()
    texts = page.run(
        "return [(await early).events, (await read(run)).events].map((events) => events.length)"
    )
    assert texts == [4, 4]


def test_listeners_hear_each_event_and_each_status(page: Page, server: ScriptedServer) -> None:
    server.play("/ai/chat", [HEAD, HELLO.frames()])
    heard = page.run("""
        const run = ai.stream("/ai/chat", "Hi");
        const heard = { status: watch(run), event: [], text: [], once: [], dom: [] };
        run.on("event", ({ type }) => heard.event.push(type));
        run.on("text", ({ text }) => heard.text.push(text));
        const off = run.on("text", ({ text }) => (heard.once.push(text), off()));
        run.addEventListener("end", ({ detail }) => heard.dom.push(detail.reason));
        const before = run.status;
        await run.done;
        return { before, ...heard };
    """)
    assert heard == {
        "before": "connecting",
        "status": ["thinking", "streaming", "finished"],
        "event": ["run", "text", "text", "end"],
        "text": ["Hel", "lo"],
        "once": ["Hel"],
        "dom": ["stop"],
    }


def test_a_connection_is_read_out_after_the_end_so_that_it_can_be_kept(
    page: Page, server: ScriptedServer
) -> None:
    gate = Gate()
    server.play("/ai/chat", [HEAD, HELLO.frames(), gate, b": more\n", Ending.HOLD])
    told = page.run("return read(ai.stream('/ai/chat', 'Hi'))")
    assert told["status"] == "finished"
    gate.open()
    # A server that never ends the body is left after a moment.
    assert server.requests[0].left.wait(10)


def test_a_stream_in_one_byte_chunks_is_the_same(page: Page, server: ScriptedServer) -> None:
    frames = HELLO.frames()
    server.play("/ai/chat", [HEAD, *(frames[at : at + 1] for at in range(len(frames)))])
    assert page.run("return read(ai.stream('/ai/chat', 'Hi'))")["text"] == "Hello"


def test_a_body_delimited_by_the_end_of_the_connection_is_the_same(
    page: Page, server: ScriptedServer
) -> None:
    head = Raw(f"HTTP/1.0 200 OK\r\n{CORS}Content-Type: text/event-stream\r\n\r\n".encode())
    server.play("/ai/chat", [head, Raw(HELLO.frames())])
    assert page.run("return read(ai.stream('/ai/chat', 'Hi'))")["text"] == "Hello"


def test_the_fetch_of_the_options_is_used(page: Page, server: ScriptedServer) -> None:
    server.play("/ai/chat", [HEAD, HELLO.frames()])
    asked = page.run("""
        const asked = [];
        const mine = (url, request) => (asked.push([new URL(url).pathname, request.credentials]), fetch(url, request));
        await ai.stream("/ai/chat", "Hi", { fetch: mine, credentials: "omit" }).done;
        return asked;
    """)
    assert asked == [["/ai/chat", "omit"]]


def test_attach_reads_any_run_from_its_beginning_or_a_cursor(
    page: Page, server: ScriptedServer
) -> None:
    server.always("/ai/runs/", lambda request: [HEAD, HELLO.after(request)])
    told = page.run("""
        const whole = await read(ai.attach("/ai/runs/r1/events"));
        const run = ai.attach("/ai/runs/r1/events", { cursor: "r1:1" });
        const [cursor, rest] = [run.cursor, await read(run)];
        return [whole.text, rest.text, cursor, run.cursor, rest.id];
    """)
    assert told == ["Hello", "lo", "r1:1", "r1:3", "r1"]


def test_an_end_that_gives_no_reason_is_an_end(page: Page, server: ScriptedServer) -> None:
    server.play("/other", [HEAD, b'data: {"text":"a"}\n\ndata: {"action":"terminate"}\n\n'])
    told = page.run("return read(ai.stream('/other', 'Hi'))")
    assert (told["status"], told["reason"], told["text"]) == ("finished", "unknown", "a")


MISUSES = [
    "ai.attach('/ai/runs/r1/events', { cursor: 'nonsense' })",
    "ai.stream('http://')",
    "ai.stream('ftp://example.org/x')",
    "ai.stream('javascript:alert(1)')",
    "ai.stream(undefined, 'Hi')",
    "document.createElement('ai-stream').ask('Hi')",
    "const ring = {}; ring.ring = ring; ai.stream('/ai/chat', ring)",
    "ai.stream('/ai/chat', { n: 1n })",
    "ai.stream('/ai/chat', new FormData())",
    "ai.stream('/ai/chat', new URLSearchParams('prompt=x'))",
    "ai.stream('/ai/chat', new Blob(['x']))",
    "ai.stream('/ai/chat', new Map([['prompt', 'x']]))",
    "ai.stream('/ai/chat', new Uint8Array(3))",
    "ai.stream('/ai/chat', () => 'x')",
    "ai.stream('/ai/chat', Symbol('x'))",
    "ai.stream('/ai/chat', 5)",
]


def test_a_mistake_in_the_call_is_thrown_at_once(page: Page, server: ScriptedServer) -> None:
    thrown = page.run(f"""
        const calls = [{", ".join(f"() => {{ {misuse} }}" for misuse in MISUSES)}];
        return calls.map((call) => {{ try {{ call(); }} catch (error) {{ return error.name; }} }});
    """)
    assert dict(zip(MISUSES, thrown, strict=True)) == dict.fromkeys(MISUSES, "TypeError")
    assert not server.requests


STRICT = """<!doctype html><link rel="icon" href="data:,">
<script type="module" nonce="abc">
  import * as ai from "/ai/static/aistream.js";
  window.ai = ai;
  window.faults = [];
</script>"""


def test_a_page_may_allow_nothing_but_scripts_with_its_nonce(
    page: Page, server: ScriptedServer
) -> None:
    policy = "default-src 'none'; script-src 'nonce-abc'; connect-src 'self'"
    html = answer(200, STRICT.encode(), content_type="text/html", Content_Security_Policy=policy)
    server.play("/strict", html)
    server.play("/ai/chat", [HEAD, HELLO.frames()])
    page.browser.get(server.url("/strict"))
    assert page.run("return (await ai.stream('/ai/chat', 'Hi').done).text") == "Hello"
    assert page.run("return customElements.get('ai-stream') === undefined")


def test_a_loop_that_is_left_from_outside_ends_at_once(page: Page, server: ScriptedServer) -> None:
    server.play("/ai/chat", [HEAD, HELLO.frames(0, 2), Ending.HOLD])
    told = page.run("""
        const run = ai.stream("/ai/chat", "Hi");
        const told = [];
        for (const loop of [run[Symbol.asyncIterator](), run.texts()]) {
          while ((await loop.next()).value !== "Hel" && run.text !== "Hel");
          const pending = [loop.next(), loop.next(), loop.next()];
          await loop.return();
          told.push((await Promise.all(pending)).at(-1).done, (await loop.next()).done);
        }
        return [told, run.status];
    """)
    assert told == [[True] * 4, "streaming"]


def test_a_slow_loop_holds_the_reading_back_and_loses_nothing(page: Page) -> None:
    whole, most = page.run("""
        const frame = (n) => `id: r1:${n}\\ndata: ${n < 5000 ? `{"text":"${n} "}` : '{"action":"terminate"}'}\\n\\n`;
        const encoder = new TextEncoder();
        let sent = 0;
        const body = new ReadableStream({
          pull(controller) {
            for (let end = sent + 100; sent < end; sent++) if (sent <= 5000) controller.enqueue(encoder.encode(frame(sent)));
            if (sent > 5000) controller.close();
          },
        });
        const fetch = async () => new Response(body, { headers: { "Content-Type": "text/event-stream" } });
        const run = ai.stream("/ai/chat", "Hi", { fetch, keep: "text" });
        let [text, most, read] = ["", 0, 0];
        for await (const event of run) {
          most = Math.max(most, sent - ++read);
          if (event.type === "text") text += event.text;
          if (read % 500 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
        }
        return [text === run.text && text.split(" ").length - 1, most];
    """)
    assert whole == 5000
    assert most <= 1300  # A thousand, and what was on its way.


def test_text_may_be_taken_frame_by_frame(page: Page, server: ScriptedServer) -> None:
    log = Log(*"abcdefgh", ev.Finished())
    frames = log.frames()
    server.play("/ai/chat", [HEAD, *(frames[at : at + 20] for at in range(0, len(frames), 20))])
    texts = page.run("""
        const texts = [];
        for await (const text of ai.stream("/ai/chat", "Hi").texts({ every: 0.1 })) texts.push(text);
        return texts;
    """)
    assert "".join(texts) == "abcdefgh"
    assert len(texts) < 8


def test_without_its_events_a_run_still_has_its_text(page: Page, server: ScriptedServer) -> None:
    server.play("/ai/chat", [HEAD, HELLO.frames()])
    told = page.run("""
        const run = ai.stream("/ai/chat", "Hi", { keep: "text" });
        await run.done;
        return read(run);
    """)
    assert (told["text"], told["events"]) == ("Hello", [])
