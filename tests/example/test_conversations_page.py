"""The chat page of a person who is logged in, on two devices: two tabs, which share no sessionStorage."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.keys import Keys

from tests.example.chat import Chat
from tests.example.conftest import SAID
from tests.example.conftest import STORY
from tests.example.serving import Gunicorn
from tests.server.servers import wait_for
from tests.upstream.server import Upstream

pytestmark = pytest.mark.browser

HALF = 42
SHOTS = os.environ.get("SCREENSHOTS")


@pytest.fixture
def server(upstream: Upstream, libraries: None) -> Iterator[Gunicorn]:
    environ = {
        "OPENAI_BASE_URL": f"{upstream.url}/v1",
        "OPENAI_MODEL": STORY,
    }
    server = Gunicorn(environ)
    yield server
    server.close()


def titles(chat: Chat) -> list[str]:
    return list(
        chat.js(
            "return [...document.querySelectorAll('#conversations .open')].map((it) => it.textContent)"
        )
    )


def replace(chat: Chat, text: str) -> None:
    """Replace the text of the field that has the focus."""
    chat.js("document.activeElement.select()")
    chat.type(text, Keys.ENTER)


def shot(browser: Chrome, name: str) -> None:
    if SHOTS:
        browser.save_screenshot(f"{SHOTS}/{name}.png")


def test_a_conversation_follows_its_person_to_another_device(
    chat: Chat, browser: Chrome, server: Gunicorn, upstream: Upstream
) -> None:
    browser.set_window_size(1400, 900)
    chat.open(server.url)
    chat.press("Log in")
    chat.type("ann", Keys.ENTER)
    wait_for(lambda: chat.js("return document.body.dataset.user") == "ann", "the log-in")
    wait_for(lambda: chat.js("return document.querySelector('#conversations .none')"), "the list")
    here, calls = browser.current_window_handle, len(upstream.exchanges)
    with upstream.holding_back(HALF):
        chat.ask("Count, please")
        early = chat.wait_for_text(10)
        wait_for(lambda: titles(chat) == ["Count, please"], "the conversation in the list")

        browser.switch_to.new_window("tab")
        browser.get(server.url)
        wait_for(lambda: titles(chat) == ["Count, please"], "the list on the second device")
        chat.js("document.querySelector('#conversations .open').click()")
        assert chat.wait_for_text(10).startswith(early[:10])
        assert chat.questions == ["Count, please"]
        assert chat.busy
        shot(browser, "live-on-second-device")
    chat.wait_for_end()
    assert chat.text == SAID.strip()
    assert len(upstream.exchanges) == calls + 1

    there = browser.current_window_handle
    browser.switch_to.window(here)
    wait_for(lambda: chat.text == SAID.strip(), "the answer on the first device")
    chat.press("Regenerate")
    wait_for(lambda: len(upstream.exchanges) == calls + 2, "another call of the model")
    chat.wait_for_end()
    assert upstream.exchanges[-1].body["messages"] == [{"role": "user", "content": "Count, please"}]
    chat.ask("And again")
    wait_for(lambda: len(chat.questions) == 2 and not chat.busy, "the second answer")
    assert [it["content"] for it in upstream.exchanges[-1].body["messages"]] == [
        "Count, please",
        SAID,
        "And again",
    ]
    chat.reload()
    wait_for(lambda: chat.questions == ["Count, please", "And again"], "the stored conversation")
    shot(browser, "stored")

    chat.js("document.querySelector('.asked .edit').click()")
    replace(chat, "Count once")
    wait_for(lambda: chat.questions == ["Count once"], "the edited question")
    chat.wait_for_end()
    assert upstream.exchanges[-1].body["messages"] == [{"role": "user", "content": "Count once"}]

    chat.press("Rename")
    replace(chat, "Numbers")
    wait_for(lambda: titles(chat) == ["Numbers"], "the new title")
    browser.switch_to.window(there)
    chat.js("dispatchEvent(new Event('focus'))")
    wait_for(lambda: titles(chat) == ["Numbers"], "the new title on the second device")
    wait_for(
        lambda: chat.questions == ["Count once"], "the edited conversation on the second device"
    )

    chat.press("Delete")
    wait_for(lambda: chat.js("return document.querySelector('dialog')?.open"), "a question")
    shot(browser, "delete")
    chat.js("[...document.querySelectorAll('dialog button')].at(-1).click()")
    wait_for(lambda: titles(chat) == [], "the conversation to be gone")
    assert chat.questions == []
    browser.set_window_size(390, 800)
    shot(browser, "narrow")
    chat.press("ann: log out")
    wait_for(lambda: chat.js("return !document.body.dataset.user"), "the log-out")
    browser.close()
    browser.switch_to.window(here)
    browser.set_window_size(1200, 900)
