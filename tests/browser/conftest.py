"""A page with the client on it, and a server that follows a script."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from tests.browser.scripted import ScriptedServer

HERE = Path(__file__).parent
LIMIT = 40
"""Seconds a test may take, whatever happens."""

ASYNC = """
const done = arguments[arguments.length - 1];
(async (...args) => {{ {body} }})(...[...arguments].slice(0, -1)).then(
  (value) => done({{ value }}),
  (error) => done({{ error: String(error.stack ?? error) }}),
);
"""


class Page:
    """A page open in the browser, with the client as ``ai`` and the helpers of ``page.js``.

    :param url: Where it is.
    """

    def __init__(self, browser: webdriver.Chrome, url: str) -> None:
        self.browser = browser
        self.url = url
        self.is_offline = False

    def open(self) -> None:
        """Load the page, or load it again."""
        self.browser.get(self.url)

    def run(self, body: str, *args: object) -> t.Any:
        """Run the body of an async function, in which ``args`` are the arguments."""
        answer = self.browser.execute_async_script(ASYNC.format(body=body), *args)
        assert "error" not in answer, answer["error"]
        return answer.get("value")

    def until(self, condition: str) -> None:
        """Wait for an expression to be true on the page."""
        self.run(f"while (!({condition})) await new Promise((resolve) => setTimeout(resolve, 5));")

    def offline(self, offline: bool) -> None:
        self.is_offline = offline
        if offline:
            self.browser.set_network_conditions(offline=True, latency=0, throughput=-1)
        else:
            self.browser.delete_network_conditions()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == HERE:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(LIMIT))


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.close()
    assert not server.unexpected


@pytest.fixture(scope="module")
def blank(browser: webdriver.Chrome) -> Iterator[Page]:
    """One page for all tests of a file, where they open no connection."""
    server = ScriptedServer()
    page = Page(browser, server.url("/page"))
    page.open()
    yield page
    server.close()


@pytest.fixture
def page(browser: webdriver.Chrome, server: ScriptedServer) -> Iterator[Page]:
    page = Page(browser, server.url("/page"))
    page.open()
    yield page
    if page.is_offline:
        page.offline(False)
    assert page.run("return faults") == []
