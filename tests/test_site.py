"""The documentation site is read from files, without a network: its pages, diagrams and search."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from tests.server.servers import wait_for

ROOT = Path(__file__).parent.parent
LOADED = re.compile(r"""<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=["'](?:https?:)?//""")
LOADED_BY_CSS = re.compile(r"""(?:url\(|@import\s)\s*["']?(?:https?:)?//""")

pytestmark = [pytest.mark.nightly, pytest.mark.browser, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    subprocess.run([ROOT / "tools" / "mermaid.sh"], check=True)
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning"]
    subprocess.run([*command, str(ROOT / "docs"), str(folder)], check=True)
    return folder


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    pages = dict.fromkeys(site.rglob("*.html"), LOADED)
    sheets = dict.fromkeys(site.rglob("*.css"), LOADED_BY_CSS)
    assert len(pages) > 40
    found = [
        path
        for path, pattern in {**pages, **sheets}.items()
        if pattern.search(path.read_text("utf-8"))
    ]
    assert found == []


def test_diagrams_are_drawn(site: Path, browser: Chrome) -> None:
    page = site / "architecture.html"
    count = page.read_text("utf-8").count('<pre class="mermaid">')
    assert count >= 5
    browser.get(page.as_uri())
    script = "return document.querySelectorAll('pre.mermaid svg .messageText').length"
    wait_for(lambda: browser.execute_script(script) >= count, "the diagrams")
    drawn = "return document.querySelectorAll('pre.mermaid svg').length"
    assert browser.execute_script(drawn) == count


def test_the_search_finds_pages(site: Path, browser: Chrome) -> None:
    browser.get((site / "search.html").as_uri() + "?q=heartbeat")
    script = "return [...document.querySelectorAll('#search-results li a')].map((it) => it.href)"
    wait_for(lambda: browser.execute_script(script), "results")
    assert any("deploy" in address for address in browser.execute_script(script))
