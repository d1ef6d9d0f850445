"""Is a worker's memory flat however many runs it has finished?

To be run with ``python -m gevent.monkey --module benchmarks.retained``, which patches the process as
gunicorn does. Applications are called in this process, without sockets. Each store in turn finishes
``WARM`` runs, then ``MORE``; its bounds keep ``KEPT``. Exits with 1 where memory has grown.
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile

import gevent
from flask import Flask

from benchmarks.hotpath import read
from benchmarks.servers import ours
from flask_aistream.web.extension import install

WARM = 2000
MORE = 10_000
KEPT = 100
AT_ONCE = 50
TOKENS = 50

GROWTH = 1.05
"""Of resident memory, at most."""

PAGE = os.sysconf("SC_PAGE_SIZE")


def main() -> int:
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for url in ("memory://", f"sqlite:///{folder}/runs.sqlite"):
            before, after = measure(url)
            worst = max(worst, after / before)
            kind = url.partition(":")[0]
            print(
                f"{kind}: {before / 1e6:.1f} MB after {WARM} runs, {after / 1e6:.1f} MB after {MORE} more: "
                f"{(after / before - 1) * 100:+.1f} %"
            )
    return int(worst > GROWTH)


def measure(url: str) -> tuple[int, int]:
    app = Flask(__name__)
    app.config.update(AISTREAM_STORE=url, AISTREAM_RETAIN_RUNS=KEPT, AISTREAM_RETAIN_SECONDS=60)
    app.register_blueprint(ours.ai, url_prefix="/ai")
    finish(app, WARM)
    before = resident()
    finish(app, MORE)
    after = resident()
    install(app).process.store.close()
    return before, after


def finish(app: Flask, runs: int) -> None:
    for _ in range(runs // AT_ONCE):
        readers = [
            gevent.spawn(read, app, f"/ai/stream?prompt=x&mode=fresh&n={TOKENS}")
            for _ in range(AT_ONCE)
        ]
        gevent.joinall(readers, raise_error=True)
        install(app).process.store.sweep()


def resident() -> int:
    """Bytes."""
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * PAGE


if __name__ == "__main__":
    sys.exit(main())
