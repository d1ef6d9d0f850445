"""What this process remembers of its latest runs, for clients that reconnect by chat."""

from __future__ import annotations

import threading
import typing as t


class Chats:
    """Notes on runs, by their ids.

    :param most: Runs to remember; the oldest are forgotten first.
    """

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._told: dict[str, None] = {}
        self._options: dict[str, t.Mapping[str, t.Any]] = {}
        self._lock = threading.Lock()

    def tell(self, run_id: str) -> None:
        """Somebody has read the run to its end."""
        self._keep(self._told, run_id, None)

    def was_told(self, run_id: str) -> bool:
        return run_id in self._told

    def remember(self, run_id: str, options: t.Mapping[str, t.Any]) -> None:
        """What the request that started the run said of its encoding."""
        if options:
            self._keep(self._options, run_id, options)

    def options(self, run_id: str) -> t.Mapping[str, t.Any]:
        return self._options.get(run_id, {})

    def _keep(self, kept: dict[str, t.Any], run_id: str, value: t.Any) -> None:
        with self._lock:
            kept[run_id] = value
            while len(kept) > self._most:
                del kept[next(iter(kept))]
