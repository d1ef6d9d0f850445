"""How many random examples a test tries: a share of 2,000, which are the same in every run. ``make fuzz`` sets
``FUZZ_EXAMPLES`` to 100,000, which are others in every run."""

from __future__ import annotations

import os
import typing as t

from hypothesis import HealthCheck
from hypothesis import Phase
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

FUZZ = os.environ.get("FUZZ_EXAMPLES")
EXAMPLES = int(FUZZ or "2000")

PHASES = [Phase.explicit, Phase.reuse, Phase.generate]
"""No shrinking, which would repeat requests for minutes: a failure prints the blob that reproduces it."""


Test = t.Callable[..., None]


def tried(fraction: float, *strategies: st.SearchStrategy[t.Any]) -> t.Callable[[Test], Test]:
    """Call a test with random values, as often as its share of all examples.

    :param strategies: Of the last arguments; the first ones are fixtures.
    """
    chosen = settings(
        max_examples=max(1, round(EXAMPLES * fraction)),
        phases=PHASES,
        derandomize=FUZZ is None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    return lambda test: chosen(given(*strategies)(test))
