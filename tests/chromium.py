"""Chromium, without a window."""

from __future__ import annotations

import shutil

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from tests.server.servers import DEADLINE

FLAGS = (
    "--headless=new",
    "--no-sandbox",  # Chromium refuses to run as root with one, and CI often is root.
    "--disable-dev-shm-usage",  # Containers give /dev/shm 64 MB.
    "--window-size=800,600",
)
MISSING = (
    "{} is not installed, so the JavaScript client cannot be tested. "
    "Install it, on Debian with `apt-get install chromium chromium-driver`."
)


def start_chromium() -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    options.binary_location = executable("chromium")
    for flag in FLAGS:
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(executable("chromedriver")))
    driver.set_script_timeout(DEADLINE)
    driver.set_page_load_timeout(DEADLINE)
    return driver


def executable(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.fail(MISSING.format(name), pytrace=False)
    return found
