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

from benchmarks.servers import canned
from benchmarks.servers import flask_generator
from benchmarks.servers import flask_sdk
from benchmarks.servers import ours
from benchmarks.servers import ours_sdk

ROUNDS = 15


@dataclass(frozen=True, slots=True)
class Case:
    """
    :param streams: At once.
    :param tokens: Of each stream.
    :param over_a_model: Whether the tokens come from a canned response of a model, which ours reads raw and the
        bare Flask generator through the SDK.
    """

    name: str
    mode: str
    streams: int
    tokens: int
    config: dict[str, t.Any] = field(default_factory=dict)
    over_a_model: bool = False


# A loop that is late would open the interval, and hide the cost of a write.
STEADY = {"AISTREAM_FLUSH_BUSY_SECONDS": 0}

CASES = (
    Case("flat", "flat", 8, 4000, STEADY),
    Case("tick", "tick", 8, 1000, STEADY),
    Case("tick without a flush interval", "tick", 8, 500, {**STEADY, "AISTREAM_FLUSH_SECONDS": 0}),
    Case("first token", "flat", 50, 1, STEADY),
    Case("L, raw response", "flat", 8, 400, STEADY, over_a_model=True),
)


def main() -> None:
    ours_sdk.CLIENTS["sdk"] = (canned.openai(), None)
    flask_sdk.openai = canned.openai()
    print(json.dumps({case.name: round(ratio(case), 4) for case in CASES}))


def ratio(case: Case) -> float:
    app = Flask(__name__)
    app.config.update(case.config)
    app.register_blueprint((ours_sdk if case.over_a_model else ours).ai, url_prefix="/ai")
    peer = (flask_sdk if case.over_a_model else flask_generator).app
    query = f"mode={case.mode}&n={case.tokens}"
    ours_url = f"/ai/{'raw' if case.over_a_model else 'stream'}?prompt=x&{query}"
    mine, bare = [], []
    for _ in range(ROUNDS + 1):
        mine.append(spend(app, ours_url, case.streams))
        bare.append(spend(peer, f"/stream?{query}", case.streams))
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
