"""The examples of ``docs/howto``, run unchanged.

The first Python block of a page is the application. A client's block is followed by its output.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.clients.conftest import HERE
from tests.clients.conftest import LIMIT
from tests.clients.conftest import NODE
from tests.clients.conftest import ROOT
from tests.clients.conftest import serving
from tests.clients.test_htmx import text
from tests.clients.test_htmx import until

PAGES = ROOT / "docs" / "howto"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADDRESS = "http://127.0.0.1:8080"

# Modules that the pages import. A user's project gets them from npm.
SERVED = """

@app.get("/page/<path:name>")
def served(name):
    from os.path import abspath
    from flask import send_from_directory
    return send_from_directory(abspath("public"), name)
"""


def blocks(page: str) -> list[tuple[str, str]]:
    return [
        (found[1], found[2]) for found in BLOCK.finditer((PAGES / f"{page}.md").read_text("utf-8"))
    ]


def printing() -> Iterator[t.Any]:
    """All client blocks that are followed by their output."""
    for page in ("native", "ai-sdk", "openai", "ag-ui", "htmx", "text"):
        found = blocks(page)
        for number, (one, two) in enumerate(itertools.pairwise(found)):
            if two[0] == "text":
                yield pytest.param(page, *one, two[1], id=f"{page}-{number}-{one[0]}")


def application(page: str) -> str:
    return next(code for kind, code in blocks(page) if kind == "python")


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., tuple[str, Path]]]:
    """Serve a page's application → its address, and a folder whose files it serves too."""
    running: dict[str, t.Any] = {}

    def start(code: str) -> tuple[str, Path]:
        if code not in running:
            folder = tmp_path_factory.mktemp("howto")
            (folder / "public").mkdir()
            (folder / "app.py").write_text(code + SERVED, "utf-8")
            server = serving("app:app", folder)
            running[code] = (server, (server.__enter__(), folder / "public"))
        return t.cast("tuple[str, Path]", running[code][1])

    yield start
    for server, _ in running.values():
        server.__exit__(None, None, None)


@pytest.mark.parametrize(("page", "kind", "code", "printed"), [*printing()])
def test_an_example_prints_the_output_on_its_page(
    serve: t.Any, javascript: None, page: str, kind: str, code: str, printed: str
) -> None:
    address, _ = serve(application(page))
    code = code.replace(ADDRESS, address)
    if kind == "js":
        script = HERE / "node" / f".{page}-{os.getpid()}.mjs"
        # JavaScript clients keep connections open, which delays the exit of Node.
        script.write_text(code, "utf-8")
        command = [str(NODE), str(script)]
    else:
        command = [sys.executable, "-c", code]
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=LIMIT - 5
        )
    finally:
        if kind == "js":
            script.unlink()
    assert done.returncode == 0, done.stderr
    assert done.stdout == printed


def test_the_example_protocol_is_forty_lines_and_works(serve: t.Any) -> None:
    example = application("protocols")
    assert len([line for line in example.splitlines() if line.strip()]) <= 40
    address, _ = serve(example + "\n\n" + application("native"))
    import httpx

    answer = httpx.post(f"{address}/ai/chat/lines", json={"prompt": "Hello"})
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = [line for line in answer.text.splitlines() if line]
    events = [json.loads(line) for line in lines[1:]]
    assert [event.get("text", event.get("reason")) for event in events] == [
        "You said: ",
        "Hello",
        "stop",
    ]
    assert events[-1]["at"] > 0


EXAMPLE = """
from example_app import create_app
app = create_app({})
"""


def test_the_react_page_chats(serve: t.Any, browser: webdriver.Chrome) -> None:
    source = (ROOT / "example_app" / "react" / "chat.jsx").read_text("utf-8")
    assert ("jsx", source) in blocks("ai-sdk")
    ask_in_react(serve(EXAMPLE), browser, source, "What is a cursor?")
    until(browser, "document.querySelector('.assistant')?.textContent.includes('cursor')")
    # By script: the text above the button grows, and a pointer would miss it.
    stop = browser.find_element(By.XPATH, "//button[text()='Stop']")
    browser.execute_script("arguments[0].click()", stop)
    until(browser, "document.querySelector('button:enabled')?.textContent === 'Send'")
    assert not browser.find_elements(By.CSS_SELECTOR, "[role=alert]")


MODULES = ROOT / "flask_aistream" / "static" / "aistream"
HOOKS = [code for kind, code in blocks("react") if kind == "jsx"]


@pytest.mark.parametrize("source", HOOKS, ids=["useAIStream", "useChat"])
def test_a_page_with_our_hooks_asks_and_shows_the_answer(
    serve: t.Any, browser: webdriver.Chrome, source: str
) -> None:
    ask_in_react(serve(application("react")), browser, source, "Hello")
    until(browser, "document.getElementById('chat').textContent.includes('You said: Hello')")
    assert not browser.find_elements(By.CSS_SELECTOR, "[role=alert]")


def ask_in_react(
    served: tuple[str, Path], browser: webdriver.Chrome, source: str, question: str
) -> None:
    """Open a page of one React component, and send a question.

    :param served: Address of the server, and the folder of its pages.
    """
    address, public = served
    build(source, public / "chat.js")
    shutil.copy(ROOT / "example_app" / "react" / "index.html", public)
    browser.get(f"{address}/page/index.html")
    until(browser, "document.querySelector('button:enabled')")
    browser.find_element(By.TAG_NAME, "input").send_keys(f"{question}\n")


def build(source: str, target: Path) -> None:
    options = [
        *(f"--alias:flask-aistream/{it}={MODULES / it}.js" for it in ("react", "ai-sdk")),
        "--bundle",
        "--loader=jsx",
        "--jsx=automatic",
        "--log-level=error",
        f"--outfile={target}",
    ]
    production = '--define:process.env.NODE_ENV="production"'
    esbuild = str(HERE / "node_modules" / ".bin" / "esbuild")
    # Where the modules of the package find React.
    environ = {**os.environ, "NODE_PATH": str(HERE / "node_modules")}
    command = [esbuild, *options, production]
    subprocess.run(command, input=source, text=True, check=True, cwd=HERE, env=environ)


HTMX = {
    "htmx2": ("htmx2/dist/htmx.js", "htmx-ext-sse/sse.js"),
    "htmx4": ("htmx4/dist/htmx.js", "htmx4/dist/ext/hx-sse.js"),
}


@pytest.mark.parametrize("version", HTMX)
def test_the_htmx_page_shows_the_answer(
    serve: t.Any, browser: webdriver.Chrome, version: str
) -> None:
    page = (ROOT / "example_app" / "htmx" / f"{version}.html").read_text("utf-8")
    assert any(kind == "html" and page.endswith(code) for kind, code in blocks("htmx"))
    address, public = serve(application("htmx"))
    for script in HTMX[version]:
        shutil.copy(HERE / "node_modules" / script, public)
    (public / f"{version}.html").write_text(page, "utf-8")
    browser.get(f"{address}/page/{version}.html")
    for button in browser.find_elements(By.TAG_NAME, "button"):
        button.click()
    until(browser, "answer.textContent === 'You said: Hello'")
    assert text(browser) == "You said: Hello"
