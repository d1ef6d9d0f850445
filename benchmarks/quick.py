"""Compare the CPU of the hot path with its baseline, as ratios to a bare Flask generator of the same run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BASELINE = Path(__file__).parent / "baseline.json"
HOTPATH = (sys.executable, "-m", "gevent.monkey", "--module", "benchmarks.hotpath")

ATTEMPTS = 4
"""Other work on the machine makes the ratios unsteady: the least of them counts."""

TOLERANCE = 1.15
"""Factor by which a ratio may exceed its baseline."""

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
        if exceeding(ratios, baseline):
            ratios = least([ratios, measure()])
    failed = exceeding(ratios, baseline)
    for name, ratio in ratios.items():
        print(
            f"{name}: {ratio:.3f} of a bare Flask generator's CPU, baseline {baseline[name]:.3f}: "
            f"{'TOO MUCH' if name in failed else 'fine'}"
        )
    return int(bool(failed))


def measure() -> Ratios:
    output = subprocess.run(HOTPATH, check=True, capture_output=True, text=True, timeout=300).stdout
    return dict(json.loads(output))


def least(seen: list[Ratios]) -> Ratios:
    return {name: min(ratios[name] for ratios in seen) for name in seen[0]}


def exceeding(ratios: Ratios, baseline: Ratios) -> set[str]:
    return {name for name, ratio in ratios.items() if ratio > baseline[name] * TOLERANCE}
