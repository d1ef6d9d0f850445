"""CPU of our own code without sockets: WSGI applications called in one gevent process.

Every case is measured as often as ``ROUNDS``, ours and the bare Flask generator by turns; the least CPU
time of each counts, as a busy machine can only add to it. Prints the ratios as JSON. To be run with
``python -m gevent.monkey --module benchmarks.hotpath``, which patches the process as gunicorn does.
"""

from __future__ import annotations

import json
import time
import typing as t
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field

import gevent
from flask import Flask
from werkzeug.test import create_environ

from benchmarks.servers import flask_generator
from benchmarks.servers import ours

ROUNDS = 15


@dataclass(frozen=True, slots=True)
class Case:
    """
    :param streams: At once.
    :param tokens: Of each stream.
    """

    name: str
    mode: str
    streams: int
    tokens: int
    config: dict[str, t.Any] = field(default_factory=dict)


# A loop that is late would open the interval, and hide the cost of a write.
STEADY = {"AISTREAM_FLUSH_BUSY_SECONDS": 0}

CASES = (
    Case("flat", "flat", 8, 4000, STEADY),
    Case("tick", "tick", 8, 1000, STEADY),
    Case("tick without a flush interval", "tick", 8, 500, {**STEADY, "AISTREAM_FLUSH_SECONDS": 0}),
    Case("first token", "flat", 50, 1, STEADY),
)


def main() -> None:
    print(json.dumps({case.name: round(ratio(case), 4) for case in CASES}))


def ratio(case: Case) -> float:
    app = Flask(__name__)
    app.config.update(case.config)
    app.register_blueprint(ours.ai, url_prefix="/ai")
    query = f"mode={case.mode}&n={case.tokens}"
    mine = [spend(app, f"/ai/stream?prompt=x&{query}", case.streams)]
    bare = [spend(flask_generator.app, f"/stream?{query}", case.streams)]
    for _ in range(ROUNDS):
        mine.append(spend(app, f"/ai/stream?prompt=x&{query}", case.streams))
        bare.append(spend(flask_generator.app, f"/stream?{query}", case.streams))
    return min(mine) / min(bare)


def spend(app: Flask, url: str, streams: int) -> float:
    """CPU seconds of some streams, from their requests to their ends."""
    before = time.process_time()
    readers = [gevent.spawn(read, app, url) for _ in range(streams)]
    gevent.joinall(readers, raise_error=True)
    return time.process_time() - before


def read(app: Flask, url: str, written: Callable[[], object] = lambda: None) -> None:
    """
    :param written: Called for each write.
    """
    body = app(create_environ(url), lambda status, headers, error=None: bytes)
    try:
        for _ in body:
            written()
    finally:
        body.close()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
