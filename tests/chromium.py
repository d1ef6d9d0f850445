"""Headless Chromium."""

from __future__ import annotations

import shutil

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from tests.server.servers import DEADLINE

FLAGS = (
    "--headless=new",
    "--no-sandbox",  # Chromium does not start its sandbox as root, which CI often is.
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
    path = shutil.which(name)
    if path is None:
        pytest.fail(MISSING.format(name), pytrace=False)
    return path
