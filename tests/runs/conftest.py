"""Fixtures of the tests of runs."""

from __future__ import annotations

import pytest

from tests.doubles import ManualClock
from tests.doubles import ManualConcurrency
from tests.runs.support import RunnerHarness


@pytest.fixture
def harness(clock: ManualClock) -> RunnerHarness:
    """Everything in the test's thread; providers run when it calls ``run``."""
    return RunnerHarness(clock, ManualConcurrency(clock))
