"""Twenty random fault scripts; ``make soak-browser`` runs 200 in each of three engines."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from selenium import webdriver

from tests.browser.soak import serving
from tests.browser.soak import soak

pytestmark = pytest.mark.server

SCRIPTS = 20


@pytest.mark.timeout(60)
def test_stop_and_the_network_s_return_hold_in_every_fault_script(
    browser: webdriver.Chrome, tmp_path: Path
) -> None:
    seed = int(os.environ.get("SOAK_SEED") or random.randrange(1_000_000))
    with serving(tmp_path) as server:
        faults, figures = soak(browser, server, SCRIPTS, seed)
    print(f"SOAK_SEED={seed}: {figures}")
    assert faults == []
