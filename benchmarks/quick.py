"""Has the hot path become dearer? Told by ratio to the bare Flask generator of the same run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BASELINE = Path(__file__).parent / "baseline.json"
HOTPATH = (sys.executable, "-m", "gevent.monkey", "--module", "benchmarks.hotpath")

ATTEMPTS = 4
"""A machine with other work to do makes the ratios unsteady: the least of them counts."""

DEARER = 1.15
"""By how much our cost, in bare Flask generators, may grow before it is a fault."""

Ratios = dict[str, float]


def main(record: bool) -> int:
    """Measure, compare with the baseline or write it.

    :returns: Exit status.
    """
    if record:
        seen = [measure() for _ in range(ATTEMPTS)]
        BASELINE.write_text(json.dumps(least(seen), indent=2) + "\n", encoding="utf-8")
    baseline: Ratios = json.loads(BASELINE.read_text(encoding="utf-8"))
    ratios = measure()
    for _ in range(ATTEMPTS - 1):
        if dearer(ratios, baseline):
            ratios = least([ratios, measure()])
    dear = dearer(ratios, baseline)
    for name, ratio in ratios.items():
        print(
            f"{name}: {ratio:.3f} of a bare Flask generator's CPU, baseline {baseline[name]:.3f}: "
            f"{'TOO DEAR' if name in dear else 'fine'}"
        )
    return int(bool(dear))


def measure() -> Ratios:
    said = subprocess.run(HOTPATH, check=True, capture_output=True, text=True, timeout=300).stdout
    return dict(json.loads(said))


def least(seen: list[Ratios]) -> Ratios:
    return {name: min(ratios[name] for ratios in seen) for name in seen[0]}


def dearer(ratios: Ratios, baseline: Ratios) -> set[str]:
    return {name for name, ratio in ratios.items() if ratio > baseline[name] * DEARER}
