"""Every state of a run, and what happens in it: stop, wake-ups, refusals, ends that are none. In Node, without a browser."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

MATRIX = Path(__file__).parent / "node" / "matrix.mjs"
SECONDS = 30

MATRICES = {
    "stop": 45,
    "wake": 40,
    "login": 100,
    "end": 700,
    "send": 12,
    "wait": 10,
    "transport": 9,
}
"""Matrix → the least number of cases it has."""


SLOW = {"wake", "end"}


@pytest.mark.parametrize(
    "matrix",
    [pytest.param(it, marks=[pytest.mark.nightly] if it in SLOW else []) for it in MATRICES],
)
def test_it_holds_in_every_case(matrix: str) -> None:
    node = shutil.which("node")
    assert node, "Node is missing. On Debian: apt-get install nodejs"
    done = subprocess.run(
        [node, MATRIX, matrix], check=False, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["failures"] == []
    assert told["cases"] >= MATRICES[matrix]
