"""``python -m tests.simulation [schedules] [first seed]``: many schedules, on all cores.

Prints the smallest plan that still fails for every seed that violates an invariant, and exits with 1.
"""

from __future__ import annotations

import logging
import sys
import time
from multiprocessing import Pool

from tests.simulation.plans import report_of

BLOCK = 100
SCHEDULES = 100_000


def reports_of(first: int) -> list[str]:
    logging.disable(logging.CRITICAL)  # Receivers raise on purpose.
    reports = [report_of(seed) for seed in range(first, first + BLOCK)]
    return [report for report in reports if report is not None]


def main() -> int:
    count, first = (int(it) for it in (*sys.argv[1:], str(SCHEDULES), "0")[:2])
    started, done, failed = time.monotonic(), 0, 0
    with Pool() as pool:
        for reports in pool.imap(reports_of, range(first, first + count, BLOCK)):
            done += BLOCK
            failed += len(reports)
            for report in reports:
                print(report, flush=True)
            if done % 1000 < BLOCK:
                seconds = time.monotonic() - started
                print(f"{done} schedules, {failed} violations, {seconds:.0f} s", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
