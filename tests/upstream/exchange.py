"""One request and how its response ended, for tests to look at."""

from __future__ import annotations

import threading
import typing as t
from dataclasses import dataclass
from dataclasses import field


@dataclass
class Exchange:
    """
    :param began: When the request had been read. Seconds of ``time.monotonic()``, which on Linux
        is one clock for all processes.
    :param ended: When it was over; ``None`` while it lasts.
    :param outcome: ``complete``, ``gone`` (the client left first), ``cut`` (by the story) or ``down``
        (the upstream was closed).
    :param frames: How many frames were written.
    """

    number: int
    method: str
    path: str
    model: str
    body: t.Any
    headers: dict[str, str]
    began: float
    ended: float | None = None
    outcome: str | None = None
    frames: int = 0
    over: threading.Event = field(default_factory=threading.Event, repr=False)

    def wait_ended(self, timeout: float = 5.0) -> str | None:
        """The outcome; ``None`` if it still lasts after ``timeout`` seconds."""
        self.over.wait(timeout)
        return self.outcome

    def end(self, outcome: str, at: float) -> None:
        self.outcome = outcome
        self.ended = at
        self.over.set()

    def to_json(self) -> dict[str, t.Any]:
        names = ("number", "method", "path", "model", "body", "headers", "began")
        ends = ("ended", "outcome", "frames")
        return {name: getattr(self, name) for name in names + ends}
