"""The page of every tutorial: a bare EventSource, from wherever it is opened."""

from __future__ import annotations

import functools
import http.server
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from example_app.models.offline import INTRODUCTION
from example_app.models.offline import QUESTIONS
from example_app.models.offline import bullets
from example_app.pages import ADDRESS
from example_app.pages import PLAIN
from tests.example.conftest import SAID
from tests.example.serving import Gunicorn
from tests.network import Proxy
from tests.server.servers import wait_for

pytestmark = pytest.mark.browser

ENDED = "return source.readyState === EventSource.CLOSED && answer.textContent"


def read_to_the_end(browser: Chrome) -> str:
    # `const` of a classic script is no property of window, but scripts of the page's own see it.
    wait_for(lambda: browser.execute_script(ENDED), "the page to close its source")
    return str(browser.execute_script("return answer.textContent"))


@pytest.fixture
def saved(counting: Gunicorn, tmp_path: Path) -> Path:
    """The page as a reader saves it, from a server that happens to be at another address."""
    page = tmp_path / "plain.html"
    page.write_text(PLAIN.read_text("utf-8").replace(ADDRESS, counting.url), "utf-8")
    return page


@pytest.fixture
def elsewhere(saved: Path) -> Iterator[str]:
    """Another origin that serves the page."""
    handler = functools.partial(Quiet, directory=str(saved.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/{saved.name}"
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def test_it_shows_the_answer_and_closes(browser: Chrome, counting: Gunicorn) -> None:
    browser.get(counting.url + "plain")
    assert read_to_the_end(browser) == SAID


def test_opened_from_another_origin_it_works_unchanged(browser: Chrome, elsewhere: str) -> None:
    browser.get(elsewhere)
    assert read_to_the_end(browser) == SAID


def test_opened_from_a_file_it_works_unchanged(browser: Chrome, saved: Path) -> None:
    browser.get(saved.as_uri())
    assert browser.execute_script("return location.origin") == "file://"
    assert read_to_the_end(browser) == SAID


def test_connections_cut_in_mid_answer_lose_nothing(browser: Chrome, proxy: Proxy) -> None:
    browser.get(proxy.url + "plain")
    for length in (20, 80, 140):
        wait_for(
            lambda enough=length: (
                browser.execute_script("return answer.textContent.length") >= enough
            ),  # type: ignore[misc]
            f"{length} characters",
        )
        proxy.cut()
    assert read_to_the_end(browser) == SAID


def test_asked_nothing_the_offline_model_introduces_itself(
    browser: Chrome, offline: Gunicorn
) -> None:
    browser.get(offline.url + "plain")
    assert read_to_the_end(browser) == INTRODUCTION + bullets(QUESTIONS)


def test_the_stream_takes_a_prompt_and_serves_any_origin(offline: Gunicorn) -> None:
    url = f"{offline.url}stream?prompt=What+is+the+capital+of+France%3F"
    request = urllib.request.Request(url, headers={"Origin": "null"})
    with urllib.request.urlopen(request) as response:
        assert response.headers["Access-Control-Allow-Origin"] in ("*", "null")
        assert response.headers["Content-Type"].startswith("text/event-stream")
        body = response.read().decode()
    assert 'data: {"text":"I"}' in body
    assert '"action":"terminate"' in body
