"""The two files of ``docs/tutorial.md``, in a browser, as a reader of the page has them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.example.serving import Gunicorn
from tests.server.servers import ROOT
from tests.server.servers import wait_for
from tests.upstream.server import Upstream

PAGE = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```$", PAGE, re.S | re.M)
HTML = re.findall(r"^```html\n(.*?)^```$", PAGE, re.S | re.M)
PROVIDER = re.compile(r"^@ai\.provider\ndef chat.*?(?=\n\n\n)", re.S | re.M)


def write(folder: Path, *, model: bool) -> None:
    """Write the files. The last block replaces the provider of the first."""
    *blocks, replacement = PYTHON
    source = "\n\n".join(blocks)
    assert len(PROVIDER.findall(source)) == 1
    if model:
        source = PROVIDER.sub(lambda _: replacement, source)
    (folder / "app.py").write_text(source, "utf-8")
    (folder / "static").mkdir()
    (page,) = HTML
    (folder / "static" / "chat.html").write_text(page, "utf-8")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Gunicorn]:
    write(tmp_path, model=False)
    server = Gunicorn({"PYTHONPATH": f"{tmp_path}:{ROOT}"}, app="app:app")
    yield server
    server.close()


def texts(browser: Chrome) -> list[str]:
    script = (
        "return [...document.querySelectorAll('#messages p')].map((it) => it.textContent.trim())"
    )
    return list(browser.execute_script(script))


def status(browser: Chrome) -> str:
    return browser.find_element(By.ID, "status").text


def stored(browser: Chrome) -> int:
    script = "fetch('/conversation').then((it) => it.json()).then((it) => arguments[0](it.length))"
    return int(browser.execute_async_script(script))


def log_in(browser: Chrome, server: Gunicorn) -> None:
    browser.get(server.url)
    browser.find_element(By.NAME, "name").send_keys("Ann")
    browser.find_element(By.NAME, "password").send_keys("secret", Keys.ENTER)
    wait_for(lambda: browser.find_elements(By.ID, "messages"), "the page")


@pytest.mark.browser
def test_the_chat_of_the_tutorial(browser: Chrome, server: Gunicorn) -> None:
    log_in(browser, server)
    question = "one two three four five six seven eight nine ten"
    answer = f"This is message 1. You said: {question}"
    browser.find_element(By.NAME, "prompt").send_keys(question, Keys.ENTER)
    wait_for(lambda: texts(browser)[-1:] and "two" in texts(browser)[-1], "the answer to begin")
    browser.refresh()
    wait_for(lambda: texts(browser)[-1:] == [answer], "the answer to go on after a reload")
    wait_for(lambda: status(browser) == "finished", "the end")
    wait_for(lambda: stored(browser) == 2, "the question and the answer in the database")
    browser.refresh()
    wait_for(lambda: texts(browser) == [question, answer], "the history")
    browser.find_element(By.NAME, "prompt").send_keys(f"{question} {question}", Keys.ENTER)
    wait_for(lambda: "message 3. You said: one" in texts(browser)[-1], "the second answer")
    browser.find_element(By.ID, "stop").click()
    wait_for(lambda: status(browser) == "stopped", "Stop")
    browser.delete_all_cookies()
    assert (
        browser.execute_async_script(
            "const done = arguments[0]; fetch('/ai/chat', {method: 'POST', headers: "
            "{'Content-Type': 'application/json'}, body: '{\"prompt\": \"Hi\"}'}).then((it) => done(it.status))"
        )
        == 403
    )


def test_the_command_of_the_first_step_with_the_model_of_the_last(
    tmp_path: Path, upstream: Upstream
) -> None:
    write(tmp_path, model=True)
    command = [sys.executable, "-m", "flask", "--app", "app", "aistream", "ask", "chat"]
    done = subprocess.run(
        [*command, "Why is the sky blue?"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OPENAI_API_KEY": "key",
            "OPENAI_BASE_URL": f"{upstream.url}/v1",
        },
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "Hello, world!"
