"""The page in a browser, served by two workers: asks, cuts, resumes, stops, replays, and lists the runs of both."""

from __future__ import annotations

import http.client
import json
import typing as t
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from tests.playground.app import SAID
from tests.server.servers import DEADLINE
from tests.server.servers import Server
from tests.server.servers import wait_for

pytestmark = [pytest.mark.browser, pytest.mark.server, pytest.mark.timeout(120)]

WATCH = """
window.faults = [];
for (const type of ["error", "unhandledrejection", "securitypolicyviolation"])
  addEventListener(type, (event) => faults.push(String(event.message ?? event.reason ?? event.blockedURI)));
"""

UNTIL = """
const args = arguments, done = args[args.length - 1];
const check = () => (%s) ? done() : setTimeout(check, 20);
check();
"""

SMALL = """
return [...document.querySelectorAll("button, select, input, textarea, a")]
  .filter((it) => it.checkVisibility() && Math.min(it.offsetHeight, it.offsetWidth) < 40)
  .map((it) => it.outerHTML);
"""


class Playground:
    """The page, by what a person sees of it."""

    def __init__(self, browser: webdriver.Chrome, url: str) -> None:
        self.browser = browser
        self.url = f"{url}/ai/playground"
        self.open()

    def open(self) -> None:
        self.browser.get(self.url)
        self.wait_state("Ready")

    def by_id(self, name: str) -> t.Any:
        return self.browser.find_element(By.ID, name)

    def text(self, name: str) -> str:
        return t.cast(str, self.by_id(name).get_property("textContent"))

    def ask(self, provider: str, protocol: str = "native", prompt: object = "Hi") -> None:
        Select(self.by_id("provider")).select_by_value(provider)
        Select(self.by_id("protocol")).select_by_value(protocol)
        field = self.by_id("prompt")
        field.clear()
        field.send_keys(str(prompt), Keys.ENTER)

    def press(self, name: str) -> None:
        self.until("!document.getElementById(args[0]).disabled", name)
        self.browser.execute_script("document.getElementById(arguments[0]).click()", name)

    def wait_state(self, beginning: str) -> None:
        self.until("state.textContent.startsWith(args[0])", beginning)

    def wait_text(self, text: str = "") -> None:
        self.until("answer.textContent && answer.textContent.includes(args[0])", text)

    def until(self, condition: str, *args: object) -> None:
        """Wait for an expression to be true on the page, in which elements have their ids as names."""
        try:
            self.browser.execute_async_script(UNTIL % condition, *args)
        except TimeoutException:
            state = self.text("state")
            raise AssertionError(f"In vain for {condition} {args}; the page: {state!r}") from None

    def facts(self) -> dict[str, str]:
        found = self.browser.execute_script(
            "return [...document.querySelectorAll('#facts > div')].map((it) => "
            "[it.children[0].textContent, it.children[1].textContent])"
        )
        return dict(found)

    def kinds(self) -> list[str]:
        """Of the rows beside the answer."""
        found = "return [...document.querySelectorAll('#frames li')].map((it) => it.className)"
        return t.cast("list[str]", self.browser.execute_script(found))

    def rows(self) -> dict[str, dict[str, str]]:
        """The live view: the beginning of a run's id → its cells."""
        found = self.browser.execute_script(
            "return [...document.querySelectorAll('#live tbody tr')].map((row) => "
            "[row.cells[0].textContent, Object.fromEntries([...row.cells].slice(1, -1)"
            ".map((it) => [it.dataset.label, it.textContent]))])"
        )
        return dict(found)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("playground")
    server = Server(
        "gevent",
        folder / "facts.jsonl",
        app="tests.playground.app:create_app()",
        options=("-w", "2"),
        STORE=f"sqlite:///{folder}/runs.sqlite",
    )
    try:
        wait_for(lambda: status(server, "/ai/health") == 200, "the workers to answer", 60)
        yield server
    finally:
        server.stop()


@pytest.fixture
def page(browser: webdriver.Chrome, server: Server) -> Iterator[Playground]:
    watching = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
    page = Playground(browser, server.url)
    yield page
    assert browser.execute_script("return faults") == []
    browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", watching)


def status(server: Server, path: str) -> int:
    try:
        return request(server, "GET", path)[0]
    except OSError:
        return 0


def request(server: Server, method: str, path: str, **body: t.Any) -> tuple[int, dict[str, str]]:
    """Status and headers; the rest of the response is not read."""
    headers = {"Content-Type": "application/json"}
    with closing(
        http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)
    ) as connection:
        connection.request(method, path, json.dumps(body) if body else None, headers)
        with connection.getresponse() as response:
            return response.status, dict(response.headers)


def test_a_cut_is_resumed_and_the_answer_is_whole(page: Playground, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    page.ask("count", prompt=gate)
    page.wait_text("9 ")
    page.press("cut")
    gate.touch()
    page.wait_state("Finished")
    assert page.text("answer") == SAID
    facts = page.facts()
    assert facts["Reconnects"] == "1"
    assert facts["Frames"] != "0"
    assert {"open", "frame", "cut"} <= {*page.kinds()}
    assert page.browser.find_element(By.CSS_SELECTOR, "#strip path.frame").get_attribute("d")


def test_stop_ends_the_run_by_button_and_by_key(page: Playground) -> None:
    page.ask("endless")
    page.wait_text()
    page.press("stop")
    page.wait_state("Stopped")
    page.ask("endless", "html")
    page.wait_text()
    page.browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    page.wait_state("Stopped")


def test_a_run_is_replayed_after_an_event(page: Playground) -> None:
    page.ask("count")
    page.wait_state("Finished")
    after = page.by_id("after")
    after.clear()
    after.send_keys("10")
    page.press("replay")
    page.wait_text("39 ")
    assert page.text("answer") == SAID[SAID.index("10 ") :]


def test_a_run_that_was_left_is_picked_up_in_another_tab(page: Playground, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    page.ask("count", prompt=gate)
    page.wait_text("9 ")
    page.press("detach")
    page.wait_state("Detached")
    gate.touch()
    first = page.browser.current_window_handle
    link = page.by_id("tab").get_attribute("href")
    page.browser.switch_to.new_window("tab")
    try:
        page.browser.get(link)
        page.wait_state("Finished")
        assert page.text("answer") == SAID
    finally:
        page.browser.close()
        page.browser.switch_to.window(first)


@pytest.mark.nightly
@pytest.mark.parametrize("protocol", ["ai-sdk", "html"])
def test_a_protocol_that_can_resume_shows_the_whole_answer(
    page: Playground, protocol: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    page.ask("count", protocol, gate)
    page.wait_text("9 ")
    page.press("cut")
    gate.touch()
    page.wait_state("Finished")
    assert page.text("answer") == SAID


@pytest.mark.nightly
@pytest.mark.parametrize("protocol", ["openai-chat", "openai-responses", "ag-ui", "text"])
def test_in_the_others_a_cut_stops_the_run(page: Playground, protocol: str) -> None:
    page.ask("count", protocol)
    page.wait_state("Finished")
    assert page.text("answer") == SAID
    page.ask("endless", protocol)
    page.wait_text()
    page.press("cut")
    page.wait_state("Stopped")


def test_the_live_view_lists_and_stops_the_runs_of_both_workers(
    page: Playground, server: Server
) -> None:
    runs: dict[str, str] = {}

    def both() -> bool:
        # In the background, so that it needs no reader.
        asked = {"model": "endless", "input": "Hi", "background": True}
        started = request(server, "POST", "/ai/v1/responses", **asked)[1]
        runs[started["AIStream-Run"][:8]] = started["X-Pid"]
        return len({*runs.values()}) == 2

    wait_for(both, "a run in each worker")
    wait_for(lambda: runs.keys() <= page.rows().keys(), "all runs in the list")
    before = page.rows()
    wait_for(
        lambda: all(int(page.rows()[it]["Tokens"]) > int(before[it]["Tokens"]) for it in runs),
        "the tokens of each to grow",
    )
    assert {page.rows()[it]["State"] for it in runs} == {"running"}
    assert all(float(page.rows()[it]["Tokens/s"]) > 1 for it in runs)
    for run in runs:
        button = page.browser.find_element(By.CSS_SELECTOR, f'[aria-label="Stop {run}"]')
        page.browser.execute_script("arguments[0].click()", button)
    wait_for(
        lambda: {page.rows()[it]["State"] for it in runs} == {"stopped"}, "the runs to be stopped"
    )


ASKED = (
    "performance.getEntriesByType('resource').filter((it) => it.name.includes('/api/runs')).length"
)
HIDE = "Object.defineProperty(document, 'hidden', { value: args[0], configurable: true })"


def test_a_hidden_page_asks_for_no_runs_until_it_is_shown(page: Playground) -> None:
    page.until(f"{ASKED} > 0")
    page.until(HIDE, True)
    # Longer than the time between two listings, and than the answer to the last one.
    page.browser.execute_async_script("setTimeout(arguments[0], 1500)")
    before = page.browser.execute_script(f"return {ASKED}")
    page.browser.execute_async_script("setTimeout(arguments[0], 1500)")
    assert page.browser.execute_script(f"return {ASKED}") == before
    page.until(f"{HIDE} && document.dispatchEvent(new Event('visibilitychange'))", False)
    page.until(f"{ASKED} > args[0]", before)


@pytest.mark.nightly
def test_a_phone_can_use_it(page: Playground) -> None:
    page.browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True},
    )
    try:
        page.ask("count")
        page.wait_state("Finished")
        wait_for(lambda: bool(page.rows()), "a row of the live view")
        assert page.browser.execute_script("return document.documentElement.scrollWidth") <= 390
        assert page.browser.execute_script(SMALL) == []
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
