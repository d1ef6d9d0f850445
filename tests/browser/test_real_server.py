"""The client and a real server: what both promise together, seen from a page."""

from __future__ import annotations

import os
import signal
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from tests.browser.conftest import Page
from tests.browser.scripted import ScriptedServer
from tests.browser.tales import texts_of
from tests.server.servers import Server
from tests.server.servers import is_busy
from tests.server.servers import wait_for

pytestmark = pytest.mark.server

TALE = "7.50"
TEXT = "".join(texts_of(TALE))
SAID = "".join(f"{number} " for number in range(40))
COUNTING = '"/ai/count", { prompt: "?", n: 40, pause: 0.02 }'
"""A start that takes most of a second; it says ``SAID``."""

GAP_SECONDS = 1.0

BEGUN = "await until(() => run.text);"

Serve = Callable[..., Server]


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Start a server with this configuration."""
    folder = tmp_path_factory.mktemp("facts")
    running: list[Server] = []

    def start(**config: t.Any) -> Server:
        facts = folder / f"{len(running)}.jsonl"
        named = {f"APP_AISTREAM_{name.upper()}": value for name, value in config.items()}
        running.append(Server("gevent", facts, app="tests.browser.app:create_app()", **named))
        running[-1].wait_ready()
        return running[-1]

    yield start
    for server in running:
        server.leave()  # All at once: each takes a second or two.
    for server in running:
        server.stop()


@pytest.fixture(scope="module")
def server(serve: Serve) -> Server:
    return serve(heartbeat_seconds=0.1, commit_seconds=0.2)


@pytest.fixture
def mortal(serve: Serve) -> Server:
    """A server that a test may do anything to."""
    return serve(drain_seconds=0.3, detach_seconds=0.2)


Open = Callable[[str], Page]


@pytest.fixture
def opened(browser: webdriver.Chrome) -> Iterator[Open]:
    """Open the page of a server."""
    pages: list[Page] = []

    def open_at(url: str) -> Page:
        pages.append(Page(browser, f"{url}/page"))
        pages[-1].open()
        return pages[-1]

    yield open_at
    assert pages[-1].run("return faults") == []
    browser.delete_all_cookies()


@pytest.fixture
def page(opened: Open, server: Server) -> Page:  # type: ignore[override, unused-ignore]
    return opened(server.url)


class TestAnswers:
    @pytest.mark.parametrize("method", ["POST", "GET"])
    def test_a_start_is_answered_by_post_and_by_get(self, page: Page, method: str) -> None:
        told = page.run(
            "return read(ai.stream('/ai/tale', { prompt: '?', tale: args[0] }, { method: args[1] }))",
            TALE,
            method,
        )
        assert (told["text"], told["status"], told["reason"]) == (TEXT, "finished", "stop")
        types = [event["type"] for event in told["events"]]
        assert types == ["run", *["text"] * len(texts_of(TALE)), "end"]

    def test_a_silent_model_is_waited_for_as_long_as_heartbeats_come(self, page: Page) -> None:
        told = page.run("""
            const run = ai.stream("/ai/count", { prompt: "?", n: 2, pause: 1 }, { silence: 0.5 });
            const seen = watch(run);
            return [(await run.done).text, seen];
        """)
        assert told == ["0 1 ", ["thinking", "streaming", "finished"]]

    def test_a_failure_in_the_middle_keeps_the_text_and_has_a_sentence(
        self, page: Page, server: Server
    ) -> None:
        told = page.run("return read(ai.stream('/ai/fails-late', 'Hi', quick))")
        assert (told["status"], told["text"]) == ("failed", "so far ")
        assert told["error"]["code"] == "provider_error"
        assert told["id"][:8] in told["error"]["message"]
        assert "hunter2" not in told["error"]["message"]
        assert server.wait_fact("ended", told["id"])["outcome"] == "Failed"

    def test_a_failure_before_the_first_token_is_not_tried_again(
        self, page: Page, server: Server
    ) -> None:
        before = len(server.facts("ended"))
        told = page.run("return read(ai.stream('/ai/fails-early', 'Hi', quick))")
        assert (told["error"]["code"], told["error"]["status"]) == ("provider_error", 500)
        wait_for(lambda: len(server.facts("ended")) == before + 1, "the end of the run")

    REFUSED = (
        pytest.param("/ai/nobody", "Hi", "provider_not_found", 404, id="an unknown provider"),
        pytest.param("/ai/tale", {}, "prompt_missing", 422, id="nothing was asked"),
        pytest.param("/ai/tale", {"prompt": 5}, "prompt_invalid", 422, id="a prompt that is none"),
        pytest.param("/ai/tale", [], "body_invalid", 400, id="a list"),
    )

    @pytest.mark.parametrize(("path", "sent", "code", "status"), REFUSED)
    def test_a_refusal_is_told_in_the_servers_words(
        self, page: Page, server: Server, path: str, sent: t.Any, code: str, status: int
    ) -> None:
        before = len(server.facts("called"))
        told = page.run("return read(ai.stream(args[0], args[1], quick))", path, sent)
        assert told["error"]["status"] == status
        assert told["error"]["code"] == code
        assert "event stream" not in told["error"]["message"]
        assert len(server.facts("called")) == before


def stop_limit() -> float:
    """Seconds in which a stop takes effect. Beside other tests, the browser itself may be late."""
    return 10.0 if is_busy() else 0.3


class TestStop:
    def test_it_ends_the_run_and_frees_the_provider(self, page: Page, server: Server) -> None:
        answer, told = page.run(f"""
            const run = ai.stream("/ai/silent", "Hi");
            {BEGUN}
            return [await run.stop(), await run.done];
        """)
        assert (answer["stopped"], answer["status"], answer["text"]) == (True, "stopped", "Well,")
        assert (told["status"], told["text"]) == ("stopped", "Well,")
        assert server.wait_fact("closed", answer["run"])
        assert server.wait_fact("ended", answer["run"])["outcome"] == "Stopped"

    def test_it_is_the_reason_even_where_leaving_stops_a_run_at_once(
        self, opened: Open, serve: Serve
    ) -> None:
        page = opened(serve(detach_seconds=0).url)
        answers = page.run(f"""
            const answers = [];
            for (let n = 0; n < 3; n++) {{
              const run = ai.stream("/ai/silent", "Hi");
              {BEGUN}
              answers.push(await run.stop());
            }}
            return answers.map(({{ stopped, end }}) => [stopped, end]);
        """)
        assert answers == [[True, {"by": "client"}]] * 3

    def test_before_the_run_has_a_name_it_waits_for_it(self, page: Page, server: Server) -> None:
        before = len(server.facts("closed"))
        answer, told = page.run("""
            const run = ai.stream("/ai/mute", "Hi");
            await new Promise((resolve) => setTimeout(resolve, 50));
            return [await run.stop(), await run.done];
        """)
        assert (answer["stopped"], told["status"], told["text"]) == (True, "stopped", "")
        assert server.wait_fact("closed", answer["run"])
        assert len(server.facts("closed")) == before + 1

    def test_in_the_same_tick_nothing_is_started(self, page: Page, server: Server) -> None:
        before = len(server.facts("called"))
        assert page.run("""
            const run = ai.stream("/ai/count", { prompt: "?", n: 3 });
            return [await run.stop(), run.status, (await run.done).reason];
        """) == [None, "stopped", "stopped"]
        page.run("return read(ai.stream('/ai/count', { prompt: '?', n: 1 }))")
        assert len(server.facts("called")) == before + 1

    def test_it_works_while_every_connection_of_the_browser_is_in_use(
        self, page: Page, server: Server
    ) -> None:
        """Six over HTTP/1.1. The seventh run waits, and says so."""
        seconds, told, waiting, rest, ended = page.run("""
            const runs = Array.from({ length: 6 }, () => ai.stream("/ai/silent", "Hi"));
            for (const run of runs) await until(() => run.text);
            const seventh = ai.stream("/ai/count", { prompt: "?", n: 2 });
            const waiting = new Promise((resolve) => seventh.on("status", resolve));
            const eighth = ai.stream("/ai/count", { prompt: "?", n: 3 });
            const reason = await waiting;
            await until(() => eighth.status === "waiting");
            eighth.stop();
            const ended = await Promise.race([eighth.done, new Promise((resolve) => setTimeout(resolve, 300))]);
            const before = performance.now();
            runs[0].stop();
            const told = await runs[0].done;
            const seconds = (performance.now() - before) / 1000;
            const rest = (await seventh.done).text;
            await Promise.all(runs.map((run) => run.stop()));
            return [seconds, told, reason, rest, ended?.status];
        """)
        assert (told["status"], told["text"]) == ("stopped", "Well,")
        assert seconds < stop_limit()
        assert waiting == {"status": "waiting", "reason": "connections"}
        assert (rest, ended) == ("0 1 ", "stopped")

    def test_it_works_with_more_runs_than_connections(self, page: Page, server: Server) -> None:
        """The queued runs must not take the connection that the stopped run frees."""
        before = len(server.facts("called"))
        seconds, told, queued, statuses, warnings = page.run("""
            const warnings = [];
            console.warn = (...args) => warnings.push(args.join(" "));
            const runs = Array.from({ length: 8 }, () => ai.stream("/ai/silent", "Hi"));
            const reasons = [];
            for (const run of runs) run.on("status", ({ reason }) => reason && reasons.push(reason));
            await until(() => runs.filter(({ text }) => text).length === 6);
            await until(() => reasons.filter((reason) => reason === "connections").length === 2);
            const [open, waiting] = [runs.filter(({ text }) => text), runs.filter(({ text }) => !text)];
            const stop = async (run) => {
              const begun = performance.now();
              const answer = await run.stop();
              return [(performance.now() - begun) / 1000, run.status, run.text, answer?.stopped];
            };
            const first = await stop(open[0]);
            await until(() => waiting.some(({ text }) => text));
            const rest = await Promise.all([...waiting, ...open.slice(1)].map(stop));
            return [first[0], first.slice(1), Math.max(...rest.map(([seconds]) => seconds)), rest.map(([, status]) => status), warnings];
        """)
        assert told == ["stopped", "Well,", True]
        assert seconds < stop_limit()
        assert queued < 5 * stop_limit()
        assert statuses == ["stopped"] * 7
        assert len(warnings) == 1
        assert "HTTP/2" in warnings[0]
        assert len(server.facts("called")) <= before + 8

    def test_a_run_that_was_left_is_stopped_while_every_connection_is_in_use(
        self, page: Page, server: Server
    ) -> None:
        """Another run lends its connection, and resumes."""
        seconds, answer, rest = page.run("""
            const left = ai.stream("/ai/silent", "Hi");
            await until(() => left.text);
            left.detach();
            const runs = Array.from({ length: 6 }, () => ai.stream("/ai/count", { prompt: "?", n: 60, pause: 0.02 }));
            for (const run of runs) await until(() => run.text);
            const before = performance.now();
            const answer = await left.stop();
            const seconds = (performance.now() - before) / 1000;
            return [seconds, answer, await Promise.all(runs.map(async (run) => (await run.done).text))];
        """)
        assert (answer["stopped"], answer["text"]) == (True, "Well,")
        assert seconds < stop_limit()
        assert rest == ["".join(f"{number} " for number in range(60))] * 6

    def test_it_works_from_another_tab_while_every_connection_is_in_use(
        self, page: Page, server: Server
    ) -> None:
        first = page.browser.current_window_handle
        page.browser.switch_to.new_window("tab")
        page.open()
        second = page.browser.current_window_handle
        page.browser.switch_to.window(first)
        links = page.run("""
            window.runs = Array.from({ length: 6 }, () => ai.stream("/ai/silent", "Hi"));
            for (const run of runs) await until(() => run.text);
            return runs[0].links;
        """)
        page.browser.switch_to.window(second)
        seconds, answer = page.run(
            """
            const before = performance.now();
            const answer = await ai.attach(args[0].events).stop();
            return [(performance.now() - before) / 1000, answer];
            """,
            links,
        )
        page.browser.close()
        page.browser.switch_to.window(first)
        assert (answer["stopped"], answer["text"]) == (True, "Well,")
        assert seconds < 1
        statuses = page.run("""
            await runs[0].done;
            await until(() => runs.slice(1).every(({ status }) => status === "streaming"));
            const statuses = runs.map(({ status }) => status);
            await Promise.all(runs.map((run) => run.stop()));
            return statuses;
        """)
        assert statuses == ["stopped", *["streaming"] * 5]

    def test_it_works_from_another_tab(self, page: Page, server: Server) -> None:
        """The run's own tab has five streams open; the other tab attaches to one and stops it."""
        links = page.run("""
            window.runs = Array.from({ length: 6 }, () => ai.stream("/ai/silent", "Hi"));
            for (const run of runs) await until(() => run.text);
            return runs[0].links;
        """)
        first = page.browser.current_window_handle
        page.run("await runs[5].stop()")  # The page of the other tab needs a connection.
        page.browser.switch_to.new_window("tab")
        page.open()
        seconds, answer = page.run(
            """
            const run = ai.attach(args[0].events);
            const before = performance.now();
            const answer = await run.stop();
            return [(performance.now() - before) / 1000, answer];
            """,
            links,
        )
        page.browser.close()
        page.browser.switch_to.window(first)
        assert answer["stopped"]
        assert seconds < 1
        told = page.run(
            "const told = await runs[0].done; runs.forEach((run) => run.stop()); return told"
        )
        assert (told["status"], told["text"]) == ("stopped", "Well,")

    def test_a_lost_start_is_stopped_by_its_key(self, page: Page, server: Server) -> None:
        answer, told = page.run("""
            let sent;
            const lost = (url, request) => {
              if (request.method === "DELETE") return fetch(url, request);
              sent = fetch(url, request);
              return new Promise((_, reject) => request.signal.addEventListener("abort", reject));
            };
            const run = ai.stream("/ai/silent", "Hi", { fetch: lost, silence: 2 });
            await until(() => sent);
            await sent;
            return [await run.stop(), await run.done];
        """)
        assert (answer["stopped"], told["status"], told["text"]) == (True, "stopped", "Well,")
        assert server.wait_fact("closed", answer["run"])


class TestComingBack:
    def test_after_a_reload_the_whole_text_is_there(self, page: Page, server: Server) -> None:
        page.run(f"window.run = ai.stream({COUNTING}, {{ persist: 'answer' }}); {BEGUN}")
        run = page.run("return run.id")
        page.open()
        told = page.run("return read(ai.resume('answer'))")
        assert (told["text"], told["status"], told["id"]) == (SAID, "finished", run)
        assert len(server.facts("called", run)) == 1
        assert page.run("return ai.resume('answer')") is None

    def test_a_reload_before_the_first_token_starts_no_second_run(
        self, page: Page, server: Server
    ) -> None:
        before = len(server.facts("called"))
        page.run(
            "ai.stream('/ai/tale', { prompt: '?', tale: args[0], think: 0.6 }, { persist: 'tale' })",
            TALE,
        )
        wait_for(lambda: len(server.facts("called")) > before, "the run to begin")
        page.open()
        told = page.run("return read(ai.resume('tale'))")
        assert told["text"] == TEXT
        assert [fact["run"] for fact in server.facts("called")[before:]] == [told["id"]]

    def test_a_run_that_was_left_goes_on_and_can_be_read_again(
        self, page: Page, server: Server
    ) -> None:
        left, rest, whole, over = page.run(f"""
            const run = ai.stream({COUNTING});
            {BEGUN}
            run.detach();
            const left = await run.done;
            const rest = ai.attach(run.links.events, {{ cursor: run.cursor }});
            const texts = [(await rest.done).text, (await ai.attach(run.links.events).done).text];
            const over = await ai.attach(run.links.events, {{ cursor: rest.cursor }}).done;
            return [left, ...texts, over];
        """)
        assert left["status"] == "detached"
        assert (left["text"] + rest, whole) == (SAID, SAID)
        assert (over["status"], over["reason"], over["text"]) == ("finished", "stop", "")

    def test_one_key_is_one_run_whoever_asks(self, page: Page, server: Server) -> None:
        one, two, other = page.run("""
            const start = (input) => read(ai.stream("/ai/count", input, { key: "mine-and-only-mine", ...quick }));
            const asked = { prompt: "?", n: 40, pause: 0.01 };
            return Promise.all([start(asked), start(asked), start({ ...asked, n: 41 })]);
        """)
        assert one["id"] == two["id"]
        assert one["text"] == two["text"] == SAID, (one, two)
        assert len(server.facts("called", one["id"])) == 1
        assert (other["error"]["code"], other["error"]["status"]) == ("key_reused", 422)

    def test_the_element_goes_on_after_a_reload(self, page: Page, server: Server) -> None:
        put = """
            document.body.innerHTML = '<ai-stream src="/ai/count" persist="element"></ai-stream>';
            window.element = document.querySelector("ai-stream");
        """
        page.run(put)
        page.run("element.ask({ prompt: '?', n: 40, pause: 0.02 })")
        page.until("element.textContent")
        page.open()
        page.run(put)
        page.until("element.getAttribute('status') === 'finished'")
        assert page.run("return element.textContent") == SAID
        assert len(server.facts("called", page.run("return element.run.id"))) == 1


PLAIN = """
window.text = "";
window.source = new EventSource("/ai/count?prompt=x&n=1000&pause=0.02");
source.addEventListener("message", (evt) => {
  const payload = JSON.parse(evt.data);
  window.reason = payload.reason;
  if (payload.action === "terminate") source.close();
  else text += payload.text;
});
"""


class TestAServerThatGoes:
    def kill_worker(self, server: Server) -> None:
        """End the process that holds the run; gunicorn starts another one at once."""
        os.kill(server.wait_fact("called")["pid"], signal.SIGKILL)

    def test_a_run_that_died_with_its_server_fails_and_is_not_started_again(
        self, opened: Open, mortal: Server
    ) -> None:
        page = opened(mortal.url)
        page.run(
            f"window.run = ai.stream('/ai/count', {{ prompt: '?', n: 1000, pause: 0.02 }}); {BEGUN}"
        )
        self.kill_worker(mortal)
        told = page.run("return read(run)")
        assert (told["error"]["code"], told["error"]["status"]) == ("run_not_found", 404)
        assert told["text"].startswith("0 ")
        assert len(mortal.facts("called")) == 1

    def test_to_a_plain_eventsource_it_is_over_too(self, opened: Open, mortal: Server) -> None:
        page = opened(mortal.url)
        page.run(PLAIN)
        page.until("text")
        self.kill_worker(mortal)
        page.until("source.readyState === EventSource.CLOSED")
        assert len(mortal.facts("called")) == 1

    def test_what_a_leaving_server_cannot_finish_is_told_as_interrupted(
        self, opened: Open, mortal: Server
    ) -> None:
        page = opened(mortal.url)
        page.run(
            f"window.run = ai.stream('/ai/count', {{ prompt: '?', n: 1000, pause: 0.02 }}); {BEGUN}"
        )
        page.run(PLAIN + "await until(() => text)")
        mortal.leave()
        told = page.run("return read(run)")
        assert (told["status"], told["reason"]) == ("interrupted", "interrupted")
        ended = mortal.wait_fact("ended", told["id"])
        assert (ended["outcome"], ended["text"]) == ("Interrupted", told["text"])
        page.until("reason === 'interrupted'")

    def test_from_a_leaving_worker_pages_go_on_in_the_next_one(
        self, opened: Open, serve: Serve, tmp_path: Path
    ) -> None:
        server = serve(store=f"sqlite:///{tmp_path}/runs.sqlite", drain_seconds=5)
        page = opened(server.url)
        page.run(PLAIN.replace("n=1000", "n=180"))
        page.run("""
            window.run = ai.stream("/ai/count", { prompt: "?", n: 180, pause: 0.02 });
            window.seen = watch(run);
            window.gaps = { run: pauses(run, "text"), source: pauses(source, "message") };
            await until(() => text && run.text);
        """)
        server.process.send_signal(signal.SIGHUP)
        page.until("reason && run.status === 'finished'")
        whole = "".join(f"{number} " for number in range(180))
        assert page.run("return [run.text, text, reason]") == [whole, whole, "stop"]
        assert page.run("return seen") == [
            "thinking", "streaming", "waiting", "reconnecting", "streaming", "finished",
        ]  # fmt: skip
        assert max(page.run("return [gaps.run.longest, gaps.source.longest]")) < GAP_SECONDS
        assert len(server.facts("called")) == 2

    def test_a_page_that_is_closed_stops_what_nobody_comes_back_to(
        self, opened: Open, mortal: Server
    ) -> None:
        page = opened(mortal.url)
        page.run(f"window.run = ai.stream('/ai/silent', 'Hi'); {BEGUN}")
        page.open()
        assert mortal.wait_fact("ended")["outcome"] == "Stopped"
        assert mortal.wait_fact("closed")


@pytest.fixture(scope="module")
def origins() -> Iterator[tuple[ScriptedServer, ScriptedServer]]:
    """Two servers of pages: one on the list of the API, one not. Cookies do not know ports, so
    both are pages that a browser sends the API's cookies from."""
    servers = ScriptedServer(), ScriptedServer()
    yield servers
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def api(serve: Serve, origins: tuple[ScriptedServer, ScriptedServer]) -> Server:
    return serve(cors_origins=[origins[0].url("")])


@pytest.fixture
def friend(opened: Open, origins: t.Any, api: Server) -> Page:
    """A page of an origin that is on the list, in a browser that is logged in."""
    opened(api.url).browser.get(f"{api.url}/login/ann")
    return opened(origins[0].url(""))


@pytest.fixture
def stranger(opened: Open, origins: t.Any, api: Server) -> Page:
    opened(api.url).browser.get(f"{api.url}/login/ann")
    return opened(origins[1].url(""))


class TestOtherOrigins:
    def test_a_page_on_the_list_starts_resumes_and_stops_with_its_cookies(
        self, friend: Page, api: Server
    ) -> None:
        answer, rest, other = friend.run(
            f"""
            const mine = {{ credentials: "include" }};
            const run = ai.stream(args[0] + "/ai/silent", "Hi", mine);
            {BEGUN}
            run.detach();
            const rest = read(ai.attach(run.links.events, {{ ...mine, cursor: run.cursor }}));
            const other = await read(ai.attach(run.links.events));
            return [await run.stop(), await rest, other];
            """,
            api.url,
        )
        assert (answer["stopped"], rest["status"]) == (True, "stopped")
        # The run has an owner, and without cookies nobody is.
        assert (other["error"]["code"], other["error"]["status"]) == ("run_not_found", 404)

    def test_an_eventsource_of_such_a_page_may_send_its_cookies_too(
        self, friend: Page, api: Server
    ) -> None:
        texts = friend.run(
            """
            const source = new EventSource(`${args[0]}/ai/count?prompt=x&n=3`, { withCredentials: true });
            let text = "";
            return new Promise((resolve) => source.addEventListener("message", ({ data }) => {
              const payload = JSON.parse(data);
              if (payload.action === "terminate") resolve((source.close(), text));
              else text += payload.text;
            }));
            """,
            api.url,
        )
        assert texts == "0 1 2 "

    STARTS = (
        "ai.stream(url, { prompt: 'x', n: 3 }, { credentials: 'include', ...once })",
        "ai.stream(url, { prompt: 'x', n: 3 }, once)",
        "ai.stream(url + '?prompt=x&n=3', null, { credentials: 'include', ...once })",
    )

    @pytest.mark.parametrize("start", STARTS)
    def test_a_page_that_is_not_starts_nothing(
        self, stranger: Page, api: Server, start: str
    ) -> None:
        before = len(api.facts("called"))
        told = stranger.run(
            f"""
            const url = args[0] + "/ai/count";
            const once = {{ retry: {{ attempts: 1, base: 0.01 }} }};
            return read({start});
            """,
            api.url,
        )
        assert (told["status"], told["error"]["code"]) == ("failed", "connection_lost")
        assert len(api.facts("called")) == before

    def test_its_eventsource_with_cookies_starts_nothing(self, stranger: Page, api: Server) -> None:
        """No preflight asks before it, so the request itself is refused."""
        before = len(api.facts("called"))
        stranger.run(
            """
            const url = `${args[0]}/ai/count?prompt=x&n=3`;
            window.source = new EventSource(url, { withCredentials: true });
            """,
            api.url,
        )
        stranger.until("source.readyState === EventSource.CLOSED")
        assert len(api.facts("called")) == before

    def test_without_a_list_any_page_may_read_what_needs_no_cookies(
        self, opened: Open, origins: t.Any, server: Server
    ) -> None:
        page = opened(origins[1].url(""))
        texts, refused = page.run(
            """
            const url = args[0] + "/ai/count";
            const run = ai.stream(url, { prompt: "x", n: 3 });
            const whole = await read(run);
            const again = await read(ai.attach(run.links.events, { cursor: `${run.id}:1` }));
            const once = { retry: { attempts: 1, base: 0.01 } };
            const refused = ai.stream(url, { prompt: "x", n: 3 }, { credentials: "include", ...once });
            return [[whole.text, again.text], (await refused.done).status];
            """,
            server.url,
        )
        assert texts == ["0 1 2 ", "1 2 "]
        assert refused == "failed"
