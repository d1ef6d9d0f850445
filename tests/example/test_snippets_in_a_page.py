"""The pages of the README, in a browser, with the ten-line app behind them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.example.serving import Gunicorn
from tests.server.servers import wait_for
from tests.upstream.server import Upstream

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def quickstart(upstream: Upstream) -> Iterator[Gunicorn]:
    environ = {"OPENAI_BASE_URL": f"{upstream.url}/v1", "OPENAI_API_KEY": "key"}
    server = Gunicorn(environ, app="example_app.quickstart:app")
    yield server
    server.close()


def text(browser: Chrome, id: str) -> str:
    return browser.find_element(By.ID, id).text


def test_the_page_of_the_quickstart_shows_the_answer(browser: Chrome, quickstart: Gunicorn) -> None:
    browser.get(quickstart.url + "static/quickstart.html")
    wait_for(lambda: text(browser, "answer") == "Hello, world!", "the answer")


def test_the_page_with_a_stop_button_asks_stops_and_survives_a_reload(
    browser: Chrome, counting: Gunicorn, upstream: Upstream
) -> None:
    browser.get(counting.url + "static/stop.html")
    with upstream.holding_back(40):
        browser.find_element(By.NAME, "question").send_keys("Count", Keys.ENTER)
        wait_for(lambda: len(text(browser, "answer")) > 20, "the answer to begin")
        browser.refresh()
        wait_for(lambda: len(text(browser, "answer")) > 40, "the answer to go on")
        browser.find_element(By.ID, "stop").click()
        wait_for(lambda: text(browser, "status") == "stopped", "the run to be stopped")
