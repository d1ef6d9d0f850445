"""A limit: the provider under gevent, without a reader. Every server under gevent pays this first.

``python -m benchmarks.servers.gevent_sleep paced 4000 5`` measures 4,000 streams for 5 s.
"""

from __future__ import annotations

import json
import sys
import time

from gevent import monkey

monkey.patch_all()

import gevent  # noqa: E402

from benchmarks.servers.tokens import Plan  # noqa: E402
from benchmarks.servers.tokens import provider  # noqa: E402

RATE = 50.0
RAMP = 2.0


class Streams:
    """:ivar tokens: Yielded by all streams so far."""

    def __init__(self, mode: str, count: int) -> None:
        self.tokens = 0
        plan = Plan(mode, sys.maxsize, RATE)
        for number in range(count):
            gevent.spawn_later(RAMP * number / count, self._follow, plan)

    def _follow(self, plan: Plan) -> None:
        for _ in provider(plan):
            self.tokens += 1


def main(mode: str, count: int, seconds: float) -> None:
    streams = Streams(mode, count)
    gevent.sleep(RAMP)
    tokens, cpu = streams.tokens, time.process_time()
    gevent.sleep(seconds)
    print(json.dumps({"tokens": streams.tokens - tokens, "cpu": time.process_time() - cpu}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
