"""How many random examples a test tries: a share of ``FUZZ_EXAMPLES``, which ``make fuzz`` raises to 100,000."""

from __future__ import annotations

import os
import typing as t

from hypothesis import HealthCheck
from hypothesis import Phase
from hypothesis import settings

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "2000"))

PHASES = [Phase.explicit, Phase.reuse, Phase.generate]
"""No shrinking, which would repeat requests for minutes: a failure prints the blob that reproduces it."""


def share(fraction: float) -> t.Any:
    """Hypothesis settings of a test that takes this share of all examples."""
    return settings(
        max_examples=max(1, round(EXAMPLES * fraction)),
        phases=PHASES,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
