"""``python -m tests.upstream PORT LOG``: prints its address, serves until SIGTERM or SIGINT."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from tests.upstream.server import Upstream


def main(port: str = "0", log: str = "/dev/null") -> None:
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # Threads inherit it; sigwait needs it.
    with Path(log).open("a") as file, Upstream(int(port), file) as upstream:
        sys.stdout.write(upstream.url + "\n")
        sys.stdout.flush()
        signal.sigwait(signals)


if __name__ == "__main__":
    main(*sys.argv[1:])
