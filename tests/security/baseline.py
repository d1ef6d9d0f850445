"""What a server holds before an attack, during it and after it."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import typing as t
import urllib.request
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass

from tests.server.servers import Server
from tests.server.servers import is_busy

SETTLE_SECONDS = 30.0
"""Longest time until everything of an attack has been freed."""

HEALTH_SECONDS = 1.0
"""Longest time that another client waits during an attack."""

REQUEST_SECONDS = 0.001
"""How much longer another client waits for one request that came before its own: Flask and gunicorn take nearly all
of it."""

ROOM = {
    "objects": 5000,
    "megabytes": 48,
    "descriptors": 4,
    "greenlets": 8,
    "runs": 0,
    "connections": 0,
}
"""What a server may hold more of after an attack than before: caches, its own keep-alive connections, and pages that the
allocator cannot return. The count of objects shows a leak of one per connection."""


State = dict[str, float]


@dataclass(frozen=True, slots=True)
class Attacked:
    """A server under attack."""

    server: Server

    @contextlib.contextmanager
    def attack(self, requests: int = 0) -> Iterator[Health]:
        """Check after a ``with`` block that nothing of it stays: memory, descriptors, greenlets, runs, connections;
        that ``/health`` answered in time meanwhile; and that the log has no traceback and no restart.

        :param requests: How many complete requests the attack sends at once. The worker begins them in their order.
        """
        self.settle()
        before, logged = self.state(), len(self.server.output())
        limit = HEALTH_SECONDS + requests * REQUEST_SECONDS
        with Health(self.server.url, limit) as health:
            yield health
        held = self.wait_until(lambda here: not more_than(here, before))
        assert not more_than(held, before), f"{held} is more than {before}"
        assert self.state()["pid"] == before["pid"]
        log = self.server.output()[logged:]
        assert "Traceback" not in log, log[log.index("Traceback") :][:5000]

    def settle(self) -> None:
        """Let runs and connections of an earlier test end."""
        held = self.wait_until(lambda here: here["runs"] == here["connections"] == 0)
        assert held["runs"] == held["connections"] == 0, held

    def wait_until(self, holds: Callable[[State], bool]) -> State:
        """The state as soon as ``holds`` is true of it, or after ``SETTLE_SECONDS``."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while not holds(here := self.state()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return here

    def state(self) -> State:
        with urllib.request.urlopen(f"{self.server.url}/state", timeout=SETTLE_SECONDS) as response:
            return t.cast("State", json.load(response))


def more_than(here: State, before: State) -> State:
    """What a server holds too much of."""
    return {name: here[name] for name, room in ROOM.items() if here[name] > before[name] + room}


class Health:
    """Asks ``/health`` again and again, as other clients do."""

    def __init__(self, url: str, limit: float) -> None:
        self._limit = limit
        self._url = f"{url}/ai/health"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self.seconds: list[float] = []

    def __enter__(self) -> Health:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._over.set()
        self._thread.join()
        if raised == (None, None, None):
            assert is_busy() or max(self.seconds) <= self._limit, (
                f"/health took {max(self.seconds):.2f} s"
            )

    def _ask(self) -> None:
        while not (self.seconds and self._over.wait(0.05)):
            begun = time.monotonic()
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(self._url, timeout=10) as answer,
            ):
                answer.read()
            self.seconds.append(time.monotonic() - begun)
