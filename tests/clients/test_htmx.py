"""htmx 2 and 4 in Chromium."""

from __future__ import annotations

import json
import typing as t
from contextlib import closing
from urllib.parse import urlsplit

import pytest
from selenium import webdriver
from selenium.webdriver.support.wait import WebDriverWait

from flask_aistream.core.unicode import SurrogateJoiner
from tests.clients.stories import text_of
from tests.network import Proxy
from tests.protocols.stories import STORIES

DEADLINE = 20.0
PAGES = ["htmx2", "htmx4"]

# Additional text in the rendered answer.
SHOWN = {
    "sources-data": "SeeAn <example>javascript:alert(1)A report these.",
    "files": "Here: text/csvdone.",
    "failed": "So farThe model did not answer.",
    "interrupted": "The server stopped before the answer was complete. Try again.",
}


def open_page(browser: webdriver.Chrome, base: str, page: str, prompt: str) -> None:
    browser.get(f"{base}/pages/{page}.html?prompt={prompt}")


def until(browser: webdriver.Chrome, condition: str) -> None:
    WebDriverWait(browser, DEADLINE, 0.02).until(lambda b: b.execute_script(f"return {condition}"))


def text(browser: webdriver.Chrome, id: str = "answer") -> str:
    # As JSON, since the driver alters some characters.
    got = browser.execute_script(
        f"return JSON.stringify(document.getElementById('{id}').textContent)"
    )
    return t.cast(str, json.loads(got))


def base_of(url: str) -> str:
    return url.removesuffix("/ai")


@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize("page", PAGES)
def test_every_story_is_shown_exactly_and_ends(
    browser: webdriver.Chrome, url: str, page: str, story: str
) -> None:
    open_page(browser, base_of(url), page, story)
    until(browser, "seen.closed > 0")
    characters = SurrogateJoiner()
    whole = characters.join(text_of(story)) + characters.join("", last=True)
    assert text(browser) == SHOWN.get(story, whole)
    assert browser.execute_script("return seen.opened") == 1


@pytest.mark.parametrize("page", PAGES)
def test_named_events_can_be_swapped_elsewhere(
    browser: webdriver.Chrome, url: str, page: str
) -> None:
    open_page(browser, base_of(url), page, "reasoning")
    until(browser, "seen.closed > 0")
    assert text(browser, "thoughts") == "Let me think.Or 5?"


@pytest.mark.parametrize("page", PAGES)
def test_a_cut_connection_loses_and_repeats_nothing(
    browser: webdriver.Chrome, url: str, page: str
) -> None:
    port = urlsplit(url).port
    assert port
    with closing(Proxy(port)) as proxy:
        open_page(browser, proxy.url.rstrip("/"), page, "words-150")
        for number in (10, 60):
            until(browser, f"answer.textContent.includes('{number} ')")
            proxy.cut()
        until(browser, "seen.closed > 0")
        assert text(browser) == "".join(f"{number} " for number in range(150))


def test_a_form_of_htmx_4_receives_a_stream(browser: webdriver.Chrome, url: str) -> None:
    open_page(browser, base_of(url), "htmx4", "text")
    until(browser, "seen.closed > 0")
    script = (
        "document.querySelector('input').value = 'tools'; document.querySelector('button').click()"
    )
    browser.execute_script(script)
    until(browser, "posted.textContent.includes('21 degrees.')")
    assert text(browser, "posted") == text_of("tools")


def test_markup_in_an_answer_is_escaped(browser: webdriver.Chrome, url: str) -> None:
    open_page(browser, base_of(url), "htmx2", "odd")
    until(browser, "seen.closed > 0")
    assert browser.execute_script("return document.querySelectorAll('#answer b').length") == 0
