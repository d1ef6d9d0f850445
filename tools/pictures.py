"""Photograph the example application and the playground for the documentation: pictures.py.

Starts it with its offline model, asks a question in headless Chromium, and saves the pages to ``docs/images/``.
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
IMAGES = ROOT / "docs" / "images"
QUESTION = "What happens when the connection is lost?"

SIZE = (900, 830)
PLAYGROUND_SIZE = (1280, 1230)
PHONE_SIZE = (390, 1500)
DEADLINE = 20.0  # Seconds for the server to start, and for the answer to fill the page.
CHARACTERS = 385  # Length of the answer that fills the window without scrolling it.

ANSWER = "return document.querySelector('.answered .text')?.innerText.length ?? 0"

PLAYGROUND_ANSWER = "return document.getElementById('answer').textContent.length"
CUT_AFTER = 60  # Characters of the answer, whose connection is then cut.
PLAYGROUND_RUNNING = "return document.querySelector('#live .running, #live tbody:empty') !== null"
PLAYGROUND_STATE = "return document.getElementById('state').textContent"

# Providers with a key would answer instead of the offline model.
KEYS = ("OPENAI_", "ANTHROPIC_", "AISTREAM_")


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    with serve() as url, start_chromium() as browser:
        save(browser, "example", lambda: photograph_example(browser, url))
        save(browser, "playground", lambda: photograph_playground(browser, url, PLAYGROUND_SIZE))
        use_dark_colors(browser)
        save(browser, "playground-phone", lambda: photograph_playground(browser, url, PHONE_SIZE))


def save(browser: webdriver.Chrome, name: str, prepare: Callable[[], None]) -> None:
    prepare()
    picture = IMAGES / f"{name}.png"
    browser.save_screenshot(str(picture))
    print(f"Wrote {picture.relative_to(ROOT)}")


def photograph_example(browser: webdriver.Chrome, url: str) -> None:
    """The chat in the middle of an answer."""
    set_size(browser, SIZE)
    browser.get(url)
    browser.find_element(By.TAG_NAME, "textarea").send_keys(QUESTION, Keys.ENTER)
    wait_until(lambda: browser.execute_script(ANSWER) > CHARACTERS)


def photograph_playground(browser: webdriver.Chrome, url: str, size: tuple[int, int]) -> None:
    """The playground after a run whose connection was cut once."""
    set_size(browser, size)
    browser.get(f"{url}ai/playground")
    wait_until(lambda: browser.execute_script(PLAYGROUND_STATE) == "Ready")
    browser.find_element(By.ID, "prompt").send_keys(QUESTION, Keys.ENTER)
    wait_until(lambda: browser.execute_script(PLAYGROUND_ANSWER) > CUT_AFTER)
    browser.execute_script("document.getElementById('cut').click()")
    wait_until(lambda: browser.execute_script(PLAYGROUND_STATE) == "Finished")
    wait_until(lambda: not browser.execute_script(PLAYGROUND_RUNNING))
    browser.execute_script("document.activeElement.blur(); scrollTo(0, 0)")


def set_size(browser: webdriver.Chrome, size: tuple[int, int]) -> None:
    """Of the viewport: a window cannot be as narrow as a phone."""
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def use_dark_colors(browser: webdriver.Chrome) -> None:
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


@contextmanager
def serve() -> Iterator[str]:
    """Run the example application → its URL."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "-k", "gevent", "--log-level", "error"]
    command += ["-b", f"127.0.0.1:{port}", "example_app:create_app()"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith(KEYS)}
    environ["EXAMPLE_PLAYGROUND"] = "1"
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
    service = Service(shutil.which("chromedriver") or "chromedriver")
    browser = webdriver.Chrome(options=options, service=service)
    try:
        yield browser
    finally:
        browser.quit()


if __name__ == "__main__":
    main()
