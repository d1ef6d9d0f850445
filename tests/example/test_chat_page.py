"""The chat page against gunicorn, driven by the keyboard where a person would use it."""

from __future__ import annotations

import threading
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from werkzeug.serving import make_server

from example_app import create_app
from tests.example.chat import Chat
from tests.example.conftest import SAID
from tests.example.conftest import STORY
from tests.example.serving import Gunicorn
from tests.example.serving import environ_in
from tests.network import Proxy
from tests.server.servers import wait_for
from tests.upstream.server import Upstream

pytestmark = pytest.mark.browser

HALF = 42
"""Frames of the model's answer, which are more than 100 characters."""


def test_an_answer_grows_and_is_whole(chat: Chat, counting: Gunicorn, upstream: Upstream) -> None:
    chat.open(counting.url)
    with upstream.holding_back(HALF):
        chat.ask("Count, please")
        early = chat.wait_for_text(10)
        assert chat.status == "Answering…"
    chat.wait_for_end()
    assert len(early) < len(chat.text)
    assert chat.text == SAID.strip()
    assert chat.said == SAID
    assert chat.questions == ["Count, please"]
    assert "12 tokens read, 80 written" in chat.ending
    assert chat.status == ""


def test_the_next_question_comes_with_the_conversation(
    chat: Chat, counting: Gunicorn, upstream: Upstream
) -> None:
    chat.open(counting.url)
    chat.ask("First")
    chat.wait_for_end()
    chat.ask("Second")
    wait_for(lambda: len(chat.questions) == 2, "the second question")
    chat.wait_for_end()
    assert upstream.exchanges[-1].body["messages"] == [
        {"role": "user", "content": "First"},
        {"role": "assistant", "content": SAID},
        {"role": "user", "content": "Second"},
    ]


def by_button(chat: Chat, browser: Chrome) -> None:
    browser.find_element(By.ID, "stop").click()


def by_key(chat: Chat, browser: Chrome) -> None:
    chat.type(Keys.ESCAPE)


@pytest.mark.parametrize("stop", [by_button, by_key])
def test_stop_ends_the_call_to_a_silent_model(
    chat: Chat,
    browser: Chrome,
    silent: Gunicorn,
    upstream: Upstream,
    stop: Callable[[Chat, Chrome], None],
) -> None:
    chat.open(silent.url)
    chat.ask("Count")
    chat.wait_for_text(10)
    stop(chat, browser)
    chat.wait_for_end()
    assert chat.ending.startswith("Stopped. ")
    assert SAID.startswith(chat.said)
    assert chat.focus == "question"
    wait_for(lambda: upstream.exchanges[-1].outcome == "gone", "the upstream call to be closed")


def test_a_reload_keeps_the_conversation(chat: Chat, counting: Gunicorn) -> None:
    chat.open(counting.url)
    chat.ask("Count")
    chat.wait_for_end()
    chat.reload()
    assert chat.questions == ["Count"]
    assert chat.text == SAID.strip()
    assert not chat.busy


def test_an_answer_whose_run_is_gone_is_kept_and_said_to_be_cut_off(
    chat: Chat, counting: Gunicorn, upstream: Upstream
) -> None:
    chat.open(counting.url)
    with upstream.holding_back(HALF):
        chat.ask("Count")
        chat.wait_for_text(30)
        chat.js(
            "Object.keys(sessionStorage).filter((it) => it.startsWith('aistream:'))"
            ".forEach((it) => sessionStorage.removeItem(it))"
        )
        chat.reload()
    assert "cut off" in chat.ending
    assert len(chat.text) >= 30
    assert not chat.busy


def test_a_reload_in_mid_answer_goes_on_with_the_same_run(
    chat: Chat, counting: Gunicorn, upstream: Upstream
) -> None:
    chat.open(counting.url)
    asked = len(upstream.exchanges)
    with upstream.holding_back(HALF):
        chat.ask("Count")
        chat.wait_for_text(30)
        chat.reload()
        assert chat.busy
    chat.wait_for_end()
    assert chat.said == SAID
    assert chat.text == SAID.strip()
    assert len(upstream.exchanges) == asked + 1


def test_a_cut_connection_is_told_and_loses_nothing(
    chat: Chat, proxy: Proxy, upstream: Upstream
) -> None:
    chat.open(proxy.url)
    with upstream.holding_back(HALF):
        chat.ask("Count")
        for length in (20, 60, 100):
            chat.wait_for_text(length)
            proxy.cut()
        proxy.blocked.set()
        proxy.cut()
        wait_for(lambda: chat.status == "Connection lost. Reconnecting…", "the page to tell it")
    proxy.blocked.clear()
    chat.wait_for_end()
    assert chat.said == SAID
    assert chat.text == SAID.strip()


def test_new_chat_asks_stops_what_is_going_on_and_begins_again(
    chat: Chat, browser: Chrome, silent: Gunicorn, upstream: Upstream
) -> None:
    chat.open(silent.url)
    chat.ask("Count")
    chat.wait_for_text(10)
    browser.find_element(By.ID, "new").click()
    chat.type(Keys.ESCAPE)
    assert (chat.busy, chat.questions, chat.focus) == (True, ["Count"], "question")
    browser.find_element(By.ID, "new").click()
    chat.press("Delete")
    wait_for(lambda: upstream.exchanges[-1].outcome == "gone", "the upstream call to be closed")
    assert chat.questions == []
    assert not chat.busy
    assert chat.focus == "question"
    chat.reload()
    assert chat.questions == []


@pytest.fixture
def choosing(upstream: Upstream, tmp_path: Path) -> Iterator[str]:
    """The application with two models, of which the first one refuses its key."""
    models = f"error-401,{STORY}"
    model = {"OPENAI_BASE_URL": f"{upstream.url}/v1", "OPENAI_MODEL": models}
    app = create_app(model | environ_in(tmp_path))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.port}/"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_refusal_is_explained_and_another_model_can_be_tried(
    chat: Chat, browser: Chrome, upstream: Upstream, choosing: str
) -> None:
    chat.open(choosing)
    chat.ask("Hello")
    chat.wait_for_end()
    assert "refused this application's credentials" in chat.ending
    assert "error-401" in chat.ending
    browser.find_element(By.CSS_SELECTOR, f"#model option[value='{STORY}']").click()
    chat.press("Try again")
    wait_for(lambda: upstream.exchanges[-1].model == STORY, "the other model to be asked")
    chat.wait_for_end()
    assert (chat.questions, chat.said) == (["Hello"], SAID)
    assert STORY in chat.ending
    chat.leave()


def test_an_answer_is_copied_and_regenerated_and_its_question_edited(
    chat: Chat, browser: Chrome, counting: Gunicorn, upstream: Upstream
) -> None:
    chat.open(counting.url)
    chat.ask("First")
    chat.wait_for_end()
    chat.js("navigator.clipboard.writeText = async (text) => { window.copied = text }")
    chat.press("Copy")
    assert chat.js("return window.copied") == SAID
    for act in ("Regenerate", "Edit"):
        before = len(upstream.exchanges)
        with upstream.holding_back(HALF):
            chat.press(act)
            if act == "Edit":
                chat.type(" one", Keys.ESCAPE)
                assert chat.questions == ["First"]
                assert chat.js("return document.activeElement.textContent") == "Edit"
                chat.type(Keys.ENTER, Keys.END, " question", Keys.ENTER)
            chat.wait_for_text(10)
            assert len(upstream.exchanges) == before + 1
            hidden = "return [...document.querySelectorAll('.edit, .again')].every((it) => getComputedStyle(it).visibility === 'hidden')"
            assert chat.js(hidden), "Neither works while an answer arrives."
        chat.wait_for_end()
        assert chat.said == SAID
    assert chat.questions == ["First question"]
    assert upstream.exchanges[-1].body["messages"] == [
        {"role": "user", "content": "First question"}
    ]


def test_without_a_clipboard_text_is_copied_from_a_field(chat: Chat, counting: Gunicorn) -> None:
    """As on pages that are not served from a secure origin."""
    chat.open(counting.url)
    assert chat.js("""
        document.execCommand = (name) => (window.copied = [name, document.activeElement.value], true);
        navigator.clipboard.writeText = () => Promise.reject(new Error("not allowed"));
        return import("/static/copy.js").then(({ copyButton }) => {
          const button = copyButton(() => "text", "Copy it");
          button.click();
          return new Promise((resolve) => setTimeout(resolve)).then(() => [copied, button.textContent]);
        });
    """) == [["copy", "text"], "Copied"]


STATUSES = [
    ({"status": "thinking"}, 0.4, True, "Thinking…"),
    ({"status": "thinking"}, 12.9, True, "Thinking… 12 s"),
    ({"status": "streaming"}, 9, True, "Answering…"),
    ({"status": "waiting", "reason": "network", "wait": 0.6}, 0, True, "Connection lost. Reconnecting…"),
    ({"status": "waiting", "reason": "network", "wait": 4}, 1.5, True, "Connection lost. Reconnecting in 3 s…"),
    ({"status": "waiting", "reason": "network", "wait": 4}, 1.5, False, "No network. The answer continues when it is back."),
    ({"status": "waiting", "reason": "server", "wait": 30}, 1, True, "The server is not available. Trying again in 29 s…"),
    ({"status": "waiting", "reason": "connections"}, 1, True, "This browser has no free connection: six other answers are open. Waiting for one…"),
    ({"status": "reconnecting"}, 1, False, "No network. The answer continues when it is back."),
    ({"status": "stopping"}, 1, False, "Stopping…"),
    ({"status": "finished"}, 1, True, ""),
]  # fmt: skip


def test_the_status_names_its_reason_and_its_seconds(chat: Chat, counting: Gunicorn) -> None:
    chat.open(counting.url)
    told = chat.js(
        "return import('/static/chat/status.js').then(({ describe }) =>"
        " arguments[0].map(([change, seconds, isOnline]) => describe(change, seconds, isOnline)))",
        [row[:3] for row in STATUSES],
    )
    assert told == [row[3] for row in STATUSES]


def accessible(browser: Chrome) -> list[tuple[str, str]]:
    """Role and name of each node that a screen reader finds; of a live region, ``live:`` and its text."""
    nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    by_id = {node["nodeId"]: node for node in nodes}

    def name(node: t.Any) -> str:
        own = str(node.get("name", {}).get("value", ""))
        return own or "".join(name(by_id[child]) for child in node.get("childIds", []))

    return [
        (f"live:{live}" if (live := live_of(node)) else str(node["role"]["value"]), name(node))
        for node in nodes
        if not node["ignored"]
    ]


def live_of(node: t.Any) -> str:
    """How a region announces its changes, if ``node`` is the root of one."""
    properties = {it["name"]: it["value"].get("value") for it in node.get("properties", [])}
    is_root = node["role"]["value"] in ("status", "log", "alert") or "root" not in properties
    return str(properties.get("live") or "") if is_root else ""


def test_a_screen_reader_says_that_an_answer_begins_and_then_its_text(
    chat: Chat, browser: Chrome, counting: Gunicorn, upstream: Upstream
) -> None:
    chat.open(counting.url)
    chat.js("""
        window.said = [];
        const region = document.getElementById("announcements");
        new MutationObserver(() => said.push(region.textContent)).observe(region, { childList: true });
    """)
    with upstream.holding_back(HALF):
        chat.ask("Count")
        chat.wait_for_text(10)
        tree = accessible(browser)
        assert [node for node in tree if node[0].startswith("live")] == [
            ("live:polite", "Answering…")
        ]
        assert ("button", "Stop") in tree
    chat.wait_for_end()
    tree = accessible(browser)
    assert [node for node in tree if node[0].startswith("live")] == [("live:polite", SAID.strip())]
    assert chat.js("return said") == ["Answering…", SAID.strip()]
    headings = [name for role, name in tree if role == "heading"]
    assert headings == ["flask_aistream", "Question", "Answer"]
    names = {name for role, name in tree if role == "button"}
    assert {"Copy answer", "Edit question", "Regenerate", "New chat", "Send"} <= names


def test_without_a_key_it_quotes_the_documentation_and_links_to_it(
    chat: Chat, browser: Chrome, offline: Gunicorn
) -> None:
    chat.open(offline.url)
    assert "Offline" in browser.find_element(By.CSS_SELECTOR, ".model").text
    browser.find_element(By.CSS_SELECTOR, ".questions button").click()
    wait_for(lambda: browser.find_elements(By.CSS_SELECTOR, ".sources a"), "a source")
    chat.type(Keys.ESCAPE)
    chat.wait_for_end()
    assert chat.text.startswith("I am not a language model")
    source = browser.find_element(By.CSS_SELECTOR, ".sources a")
    assert ".md › " in source.text
    browser.get(str(source.get_attribute("href")))
    wait_for(lambda: browser.find_elements(By.CSS_SELECTOR, ".text h3"), "the source to be shown")


def test_everything_can_be_done_with_the_keyboard_alone(chat: Chat, silent: Gunicorn) -> None:
    chat.open(silent.url)
    assert chat.focus == "question"
    chat.type("One")
    chat.new_line()
    chat.type("two", Keys.ENTER)
    chat.wait_for_text(10)
    assert chat.questions == ["One\ntwo"]
    chat.type(Keys.TAB)
    assert chat.focus == "stop"
    chat.type(Keys.ENTER)
    chat.wait_for_end()
    assert chat.ending.startswith("Stopped. ")
    assert chat.focus == "question"


def test_a_reader_further_up_is_left_where_they_are(
    chat: Chat, counting: Gunicorn, upstream: Upstream
) -> None:
    chat.open(counting.url)
    chat.js("document.getElementById('question').value = 'A long question. '.repeat(200)")
    with upstream.holding_back(HALF):
        chat.type(Keys.ENTER)
        chat.wait_for_text(10)
        at_end = "return innerHeight + scrollY >= document.documentElement.scrollHeight - 8"
        wait_for(lambda: chat.js(at_end), "the page to be at its end")
        chat.js("scrollTo(0, 100)")
    chat.wait_for_end()
    assert chat.js("return scrollY") == 100
    assert chat.js("return !document.getElementById('latest').hidden")


PRESS = """
document.getElementById("question").dispatchEvent(
  new KeyboardEvent("keydown", { ...arguments[0], bubbles: true, cancelable: true }));
"""
# Chromium and Firefox say `isComposing`; Safari ends the composition first and says 229.
COMPOSING = [{"isComposing": True}, {"keyCode": 229}]


@pytest.mark.parametrize("composing", COMPOSING, ids=str)
def test_a_key_of_an_input_method_neither_sends_nor_stops(
    chat: Chat, silent: Gunicorn, composing: dict[str, object]
) -> None:
    chat.open(silent.url)
    chat.type("Count")
    chat.js(PRESS, {"key": "Enter", **composing})
    assert chat.questions == []
    chat.type(Keys.ENTER)
    chat.wait_for_text(10)
    chat.js(PRESS, {"key": "Escape", **composing})
    assert chat.status == "Answering…"
    chat.type(Keys.ESCAPE)
    chat.wait_for_end()


FAULTS = {
    "the text": "document.querySelector('.text').replaceChildren = document.querySelector('.text').append = null",
    "a frame": "window.requestAnimationFrame = () => { throw new Error('on purpose') }",
    "the footer": "document.querySelector('.answered').append = null",
    "the status": "Object.defineProperty(document.getElementById('status'), 'textContent', { get() { throw new Error('on purpose') } })",
}


@pytest.mark.parametrize(
    "fault",
    [
        *("the text", "a frame"),
        *(pytest.param(it, marks=pytest.mark.nightly) for it in ("the footer", "the status")),
    ],
)
def test_an_exception_while_drawing_leaves_the_page_usable(
    chat: Chat, counting: Gunicorn, upstream: Upstream, fault: str
) -> None:
    chat.open(counting.url)
    with upstream.holding_back(HALF):
        chat.ask("Count")
        chat.wait_for_text(10)
        chat.js(FAULTS[fault])
    chat.wait_for_end()
    chat.ask("Again")
    wait_for(lambda: len(chat.questions) == 2, "the second question")
    chat.wait_for_end()
    assert chat.text == SAID.strip()


@pytest.fixture
def phone(browser: Chrome):  # type: ignore[no-untyped-def]
    size = {"width": 390, "height": 600, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    yield
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.usefixtures("phone")
def test_nothing_sticks_out_on_a_phone(chat: Chat, offline: Gunicorn) -> None:
    chat.open(offline.url)
    assert chat.js("return innerWidth") == 390
    assert chat.js("return document.documentElement.scrollHeight > innerHeight && scrollY === 0")
    chat.ask("How do I deploy this with gunicorn and nginx? " + "x" * 200)
    chat.wait_for_text(400)
    chat.js("scrollTo(0, 0)")
    wait_for(lambda: chat.js("return !document.getElementById('latest').hidden"), "Latest")
    assert chat.js(OVERLAPS) == []
    chat.type(Keys.ESCAPE)
    chat.wait_for_end()
    assert chat.js("return document.documentElement.scrollWidth") == 390
    assert chat.js(TARGETS) == []
    assert chat.js(OVERLAPS) == []


# Pairs of neighbours that cover each other: in the header, in the composer, in a turn.
OVERLAPS = """
const shown = (it) => it.offsetParent && !it.matches(".unseen") && it.textContent + it.value;
const pairs = [];
for (const group of ["header > *, header nav > *", "#composer > :not(.field), .field > *", ".answered footer > *"])
  for (const parent of new Set([...document.querySelectorAll(group)].map((it) => it.parentElement))) {
    const boxes = [...parent.children].filter(shown);
    for (const one of boxes) for (const other of boxes) {
      const [a, b] = [one, other].map((it) => it.getBoundingClientRect());
      const apart = a.right <= b.left + 1 || b.right <= a.left + 1 || a.bottom <= b.top + 1 || b.bottom <= a.top + 1;
      if (one !== other && !apart) pairs.push([one.textContent, other.textContent]);
    }
  }
return pairs;
"""

# What a finger presses that is lower or narrower than 40 px. Links within a text may be.
TARGETS = """
return [...document.querySelectorAll("button, select, summary, textarea, header a, .sources a")]
  .filter((it) => it.offsetParent && (it.offsetHeight < 40 || it.offsetWidth < 40)).map((it) => it.textContent)
"""


def test_without_the_markdown_library_the_page_shows_plain_text(
    chat: Chat, browser: Chrome, counting: Gunicorn
) -> None:
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/static/libraries/*"]})
    try:
        chat.open(counting.url)
        chat.ask("Count")
        chat.wait_for_text(10)
        chat.wait_for_end()
        assert chat.said == SAID
        assert chat.js("return document.querySelector('.text .plain').textContent") == SAID
    finally:
        browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})


def test_the_pages_obey_a_strict_policy(chat: Chat, browser: Chrome, counting: Gunicorn) -> None:
    chat.open(counting.url)
    # An inline script is what the policy is there to refuse.
    chat.js(
        "const it = document.createElement('script'); it.textContent = 'window.inline = true';"
        "document.body.append(it);"
    )
    assert chat.js("return window.inline") is None
