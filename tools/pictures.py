"""Photograph the example application for the README: pictures.py.

Starts it with its offline model, asks a question in headless Chromium, and saves the page in mid-answer
to ``docs/images/example.png``.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "images" / "example.png"
QUESTION = "What happens when the connection is lost?"

SIZE = "900,830"
DEADLINE = 20.0  # Seconds for the server to start, and for the answer to fill the page.
CHARACTERS = 385  # Length of the answer that fills the window without scrolling it.

ANSWER = "return document.querySelector('.answered .text')?.innerText.length ?? 0"

# Providers with a key would answer instead of the offline model.
KEYS = ("OPENAI_", "ANTHROPIC_", "AISTREAM_")


def main() -> None:
    with serve() as url, start_chromium() as browser:
        browser.get(url)
        browser.find_element(By.TAG_NAME, "textarea").send_keys(QUESTION, Keys.ENTER)
        wait_until(lambda: browser.execute_script(ANSWER) > CHARACTERS)
        PICTURE.parent.mkdir(parents=True, exist_ok=True)
        browser.save_screenshot(str(PICTURE))
    print(f"Wrote {PICTURE.relative_to(ROOT)}")


@contextmanager
def serve() -> Iterator[str]:
    """Run the example application → its URL."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "-k", "gevent", "--log-level", "error"]
    command += ["-b", f"127.0.0.1:{port}", "example_app:create_app()"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith(KEYS)}
    server = subprocess.Popen(command, cwd=ROOT, env=environ)
    try:
        url = f"http://127.0.0.1:{port}/"
        wait_until(lambda: answers(url))
        yield url
    finally:
        server.terminate()
        server.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url):
            return True
    except OSError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > give_up:
            sys.exit(f"The example application was not ready within {DEADLINE:.0f} s.")
        time.sleep(0.05)


@contextmanager
def start_chromium() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(flag)
    options.add_argument(f"--window-size={SIZE}")
    service = Service(shutil.which("chromedriver") or "chromedriver")
    browser = webdriver.Chrome(options=options, service=service)
    try:
        yield browser
    finally:
        browser.quit()


if __name__ == "__main__":
    main()
