"""A cut connection loses nothing, repeats nothing and starts nothing.

A browser may drop what it received just before a connection broke. So a test that needs the page to
have read something either ends the body cleanly or holds the cut back until the page has shown it.
"""

from __future__ import annotations

import random
import threading
import typing as t
from collections import Counter

import pytest

from flask_aistream.core import events as ev
from tests.browser.conftest import Page
from tests.browser.scripted import HEAD
from tests.browser.scripted import REFUSED
from tests.browser.scripted import Ending
from tests.browser.scripted import Gate
from tests.browser.scripted import Log
from tests.browser.scripted import Play
from tests.browser.scripted import Request
from tests.browser.scripted import ScriptedServer
from tests.browser.scripted import Step
from tests.browser.scripted import answer

ODD = [
    "漢字かな",
    "🙂👩‍👩‍👧",
    "\u2028\u2029\u0085",
    "a\rb\r\nc\n",
    "",
    "\x0b\x0c\x1b\x7f",
    '"\\',
    "data: x\n\n",
    " ",
    "end",
]
STORY = Log(*ODD, ev.Usage(1, 2), ev.Finished())
SMALL = Log("é", "\u2028", ev.Finished())
CUTS = (Ending.LAST_CHUNK, Ending.CUT, Ending.RESET)


def replay(log: Log) -> t.Callable[[Request], list[Step]]:
    return lambda request: [HEAD, log.after(request)]


@pytest.mark.parametrize("how", CUTS)
def test_a_cut_is_resumed_at_the_cursor(page: Page, server: ScriptedServer, how: Ending) -> None:
    """The clean end of a body is a cut too, as long as the run has not ended."""
    seen = Gate()
    server.play("/ai/chat", [HEAD, STORY.frames(0, 4), seen, how])
    server.play(STORY.events_path, replay(STORY))
    page.run("window.told = read((window.run = ai.stream('/ai/chat', 'Hi', quick)))")
    page.until("run.text.length > 10")
    seen.open()
    told = page.run("return told")
    assert server.wait_for(2).last_event_id == "r1:3"
    assert told["text"] == "".join(ODD)
    assert told["status"] == "finished"
    assert [event["type"] for event in told["events"]] == ["run", *["text"] * 10, "usage", "end"]


class CutAt:
    """Serves one log to many runs; the start of each is cut after as many bytes as its path says."""

    def __init__(self, log: Log) -> None:
        self.bytes = log.frames()
        self.log = log
        self.keys: dict[int, set[str | None]] = {}
        self.starts: Counter[int] = Counter()
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> list[Step]:
        if request.method == "GET":
            return [HEAD, self.log.after(request)]
        at = int(request.path.rpartition("/")[2])
        with self._lock:
            self.keys.setdefault(at, set()).add(request.key)
            self.starts[at] += 1
            first = self.starts[at] == 1
        return [HEAD, self.bytes[:at], CUTS[at % 3]] if first else [HEAD, self.bytes]


def test_a_cut_at_every_byte_leaves_the_text_exact(page: Page, server: ScriptedServer) -> None:
    cut = CutAt(SMALL)
    server.always("/", cut)
    size = len(cut.bytes)
    told = page.run(
        """
        const cuts = [...Array(args[0]).keys()];
        const results = [];
        const worker = async () => {
          for (let at; (at = cuts.shift()) !== undefined; ) {
            const { text, status, events } = await read(ai.stream(`/cut/${at}`, "Hi", quick));
            results.push([at, text, status, events.length]);
          }
        };
        await Promise.all([1, 2, 3, 4].map(worker));
        return results;
        """,
        size + 1,
    )
    assert len(told) == size + 1
    assert [row for row in told if row[1:] != ["é\u2028", "finished", 4]] == []
    assert all(len(keys) == 1 for keys in cut.keys.values())
    # After a clean end, nothing is posted again once the run event was read.
    named = len(SMALL.frames(0, 1))
    again = [at for at, starts in cut.starts.items() if starts > 1 and at % 3 == 0]
    assert all(at < named for at in again)


def test_several_cuts_at_random_bytes_leave_odd_text_exact(
    page: Page, server: ScriptedServer
) -> None:
    """Each connection gives at most 60 bytes of what is left and one whole record at least."""
    chance = random.Random(7)

    def some(request: Request) -> list[Step]:
        rest = STORY.after(request)
        return [
            HEAD,
            rest[: rest.index(b"\n\n") + 2 + chance.randrange(60)],
            CUTS[chance.randrange(2)],
        ]

    server.always("/", some)
    told = page.run("return read(ai.stream('/ai/chat', 'Hi', quick))")
    assert told["text"] == "".join(ODD)
    assert told["events"][1]["text"] == ODD[0]
    assert [e["text"] for e in told["events"] if e["type"] == "text"] == ODD
    assert len({request.key for request in server.requests if request.method == "POST"}) == 1
    assert len(server.requests) > 3


def test_a_token_of_a_megabyte_is_one_event(page: Page, server: ScriptedServer) -> None:
    log = Log("x" * 1_000_000, "漢" * 300_000, ev.Finished())
    server.play("/ai/chat", [HEAD, log.frames()[:500_000], Ending.LAST_CHUNK])
    server.play(log.events_path, replay(log))
    lengths = page.run("""
        const { events } = await read(ai.stream("/ai/chat", "Hi", quick));
        return events.map(({ text }) => text?.length ?? 0);
    """)
    assert lengths == [0, 1_000_000, 300_000, 0]


def test_what_was_read_before_is_dropped(page: Page, server: ScriptedServer) -> None:
    """A server or proxy that goes back too far repeats nothing on the page."""
    server.play("/ai/chat", [HEAD, STORY.frames(0, 5), STORY.frames(2, 6), Ending.LAST_CHUNK])
    server.play(STORY.events_path, [HEAD, STORY.frames(0)])
    told = page.run("return read(ai.stream('/ai/chat', 'Hi', quick))")
    assert told["text"] == "".join(ODD)
    assert len(told["events"]) == len(STORY.events)


def test_a_failure_cut_from_its_end_is_told_once(page: Page, server: ScriptedServer) -> None:
    log = Log("a", ev.Failed("overloaded", "Too much."))
    half = log.frames().index(b"id: r1:2")
    server.play("/ai/chat", [HEAD, log.frames()[:half], Ending.LAST_CHUNK])
    server.play(log.events_path, replay(log))
    told = page.run("return read(ai.stream('/ai/chat', 'Hi', quick))")
    assert [event["type"] for event in told["events"]] == ["run", "text", "end"]
    assert told["error"]["code"] == "overloaded"


def test_trimmed_history_is_told_as_a_gap(page: Page, server: ScriptedServer) -> None:
    server.play("/ai/chat", [HEAD, STORY.frames(0, 2), Ending.LAST_CHUNK])
    server.play(STORY.events_path, [HEAD, STORY.gap(10), STORY.frames(10)])
    told = page.run("return read(ai.stream('/ai/chat', 'Hi', quick))")
    assert told["events"][2] == {"type": "gap", "first": 10}
    assert told["text"] == ODD[0] + ODD[9]
    assert told["status"] == "finished"


def test_a_run_without_its_beginning_is_resumed_where_it_was_started(
    page: Page, server: ScriptedServer
) -> None:
    """Its `run` event was trimmed away, and with it the links; the cursor is known all the same."""
    server.play(
        "/ai/chat", [HEAD, STORY.gap(9), STORY.frames(9, 10), Ending.LAST_CHUNK], replay(STORY)
    )
    told = page.run("return read(ai.stream('/ai/chat', 'Hi', quick))")
    assert told["text"] == ODD[8] + ODD[9]
    one, two = server.requests
    assert (two.method, two.last_event_id, two.key == one.key) == ("POST", "r1:9", True)


BROKEN = [
    pytest.param(STORY.frames(0, 2) + STORY.frames(3), "some are missing", id="a number is missing"),
    pytest.param(STORY.frames(1), "some are missing", id="the first one is"),
    pytest.param(STORY.frames(0, 2) + Log("a", "b", run="r2").frames(2), "another run", id="another run"),
    pytest.param(STORY.frames(0, 2) + b"id: r1:2\ndata: {\n\n", "no JSON", id="no JSON"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "says"), BROKEN)
def test_a_stream_that_cannot_be_right_fails_loudly(
    page: Page, server: ScriptedServer, data: bytes, says: str
) -> None:
    server.play("/ai/chat", [HEAD, data, Ending.HOLD])
    told = page.run("return read(ai.stream('/ai/chat', 'Hi', quick))")
    assert told["status"] == "failed"
    assert told["error"]["code"] == "stream_broken"
    assert says in told["error"]["message"]
    assert len(server.requests) == 1
    assert server.requests[0].left.wait(5)


def test_ids_that_are_no_cursors_are_left_alone(page: Page, server: ScriptedServer) -> None:
    server.play("/other", [HEAD, b'id: x\ndata: {"text":"a"}\n\nid: x\ndata: {"text":"b"}\n\n',
                           b'data: {"action":"terminate"}\n\n'])  # fmt: skip
    told = page.run("return read(ai.stream('/other', 'Hi'))")
    assert (told["text"], told["status"]) == ("ab", "finished")


def test_progress_renews_the_budget(page: Page, server: ScriptedServer) -> None:
    log = Log(*"abcdefgh", ev.Finished())
    server.play("/ai/chat", [HEAD, log.frames(0, 2), Ending.LAST_CHUNK])
    server.always(log.events_path, lambda request: [HEAD, log.after(request)[:40]])
    told = page.run(
        "return read(ai.stream('/ai/chat', 'Hi', { retry: { attempts: 1, base: 0.01 } }))"
    )
    assert (told["text"], told["status"]) == ("abcdefgh", "failed")


def test_without_progress_the_budget_runs_out(page: Page, server: ScriptedServer) -> None:
    server.play("/ai/chat", [HEAD, STORY.frames(0, 3), Ending.LAST_CHUNK])
    server.always(STORY.events_path, [HEAD, b": ping\n"])
    told = page.run("""
        const run = ai.stream("/ai/chat", "Hi", { retry: { attempts: 3, base: 0.01 } });
        const seen = [];
        run.on("status", ({ status, attempt }) => seen.push(attempt ? `${status} ${attempt}` : status));
        return { ...(await read(run)), seen, error: run.error };
    """)
    assert (told["status"], told["reason"]) == ("failed", "error")
    assert told["error"]["code"] == "connection_lost"
    assert told["text"] == "".join(ODD[:2])
    assert len(server.requests) == 4
    tries = [f"waiting {n}" for n in (1, 2, 3)]
    assert [s for s in told["seen"] if s not in ("thinking", "streaming", "reconnecting")] == [
        *tries,
        "failed",
    ]


def test_the_server_says_how_soon_to_come_back(page: Page, server: ScriptedServer) -> None:
    server.play("/ai/chat", [HEAD, b"retry: 20\n", STORY.frames(0, 3), Ending.LAST_CHUNK])
    server.play(STORY.events_path, [HEAD, b"retry: 40000\n\n", STORY.frames(3, 4)], replay(STORY))
    waits = page.run("""
        const run = ai.stream("/ai/chat", "Hi", { retry: { base: 1000, max: 20000 } });
        const waits = [];
        run.on("status", ({ wait }) => wait && waits.push(wait));
        await until(() => waits.length === 2);
        dispatchEvent(new Event("pageshow"));
        await run.done;
        return waits;
    """)
    assert 0.01 <= waits[0] <= 0.02
    assert 20 <= waits[1] <= 40


def test_the_back_off_doubles_up_to_its_limit_and_is_jittered(
    page: Page, server: ScriptedServer
) -> None:
    server.play("/ai/chat", *[REFUSED] * 8)
    waits = page.run("""
        const run = ai.stream("/ai/chat", "Hi", { retry: { attempts: 7, base: 0.02, max: 0.1 } });
        const waits = [];
        run.on("status", ({ wait }) => wait && waits.push(wait));
        await run.done;
        return waits;
    """)
    full = [0.02, 0.04, 0.08, 0.1, 0.1, 0.1, 0.1]
    assert all(most / 2 <= wait <= most for wait, most in zip(waits, full, strict=True))
    assert len(set(waits)) == 7


def test_an_unstarted_run_in_a_draining_worker_comes_back(
    page: Page, server: ScriptedServer
) -> None:
    """A draining worker answers with nothing but a reconnection time."""
    server.play("/ai/chat", [HEAD, STORY.frames(0, 3), b"retry: 10\n\n"])
    farewell: Play = [HEAD, b"retry: 10\n\n"]
    server.play(STORY.events_path, farewell, farewell, farewell, replay(STORY))
    assert page.run("return read(ai.stream('/ai/chat', 'Hi'))")["text"] == "".join(ODD)


def record(status: str, last: int, **more: object) -> list[Step]:
    return answer(200, {"run": "r1", "status": status, "cursor": f"r1:{last}", **more})


END = len(STORY.events) - 1
CHECKED = [
    pytest.param(record("finished", 2, end={"reason": "length"}), 2, "finished", "length", id="it has ended here"),
    pytest.param(record("stopped", 2), 2, "stopped", "stopped", id="it was stopped here"),
    pytest.param(record("failed", 2, end={"code": "x", "message": "X"}), 2, "failed", "error", id="it has failed here"),
    pytest.param(record("running", 2), 3, "finished", "stop", id="it goes on"),
    pytest.param(record("finished", END), 3, "finished", "stop", id="it ended later"),
    pytest.param([Ending.RESET], 3, "finished", "stop", id="the record cannot be read"),
    pytest.param(answer(404, {"error": {"code": "run_not_found", "message": "X"}}), 2, "failed", "error", id="it is gone"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "requests", "status", "reason"), CHECKED)
def test_a_204_counts_only_if_the_record_of_the_run_says_that_it_ended(
    page: Page, server: ScriptedServer, said: Play, requests: int, status: str, reason: str
) -> None:
    server.play("/ai/chat", [HEAD, STORY.frames(0, 3), Ending.LAST_CHUNK])
    server.play(STORY.events_path, answer(204), replay(STORY))
    server.play("/ai/runs/r1", said)
    told = page.run("return read(ai.stream('/ai/chat', 'Hi', quick))")
    assert (told["status"], told["reason"]) == (status, reason)
    assert told["text"] == "".join(ODD if requests == 3 else ODD[:2])
    assert len([r for r in server.requests if r.path != "/ai/runs/r1"]) == requests


def test_an_end_without_an_id_is_not_the_log_s(page: Page, server: ScriptedServer) -> None:
    forged = b'data: {"action":"terminate","reason":"stop"}\n\n'
    server.play("/ai/chat", [HEAD, STORY.frames(0, 3), forged])
    server.play(STORY.events_path, replay(STORY))
    assert page.run("return read(ai.stream('/ai/chat', 'Hi', quick))")["text"] == "".join(ODD)
