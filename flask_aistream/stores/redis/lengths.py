"""How long the logs of this process's living runs are in the server, and where they are cut."""

from __future__ import annotations

from collections.abc import Sequence

from flask_aistream.stores.limits import Length
from flask_aistream.stores.limits import Limits
from flask_aistream.stores.redis.keys import entry_id
from flask_aistream.stores.redis.keys import log_key
from flask_aistream.stores.redis.keys import meta_key
from flask_aistream.stores.redis.server import Server
from flask_aistream.stores.shared.engine import Batch


class Lengths:
    def __init__(self, server: Server, bounds: Limits) -> None:
        self._server = server
        self._bounds = bounds
        self._lengths: dict[str, Length] = {}

    def begin(self, run_id: str, first: int, size: int) -> None:
        """Of a run that is in the server, with so many bytes from this record on."""
        self._lengths[run_id] = Length(self._bounds)
        self._lengths[run_id].add(first, size)

    def drop(self, run_id: str) -> None:
        self._lengths.pop(run_id, None)

    def add(self, batches: Sequence[Batch]) -> None:
        """Note what was written, and cut what is too long."""
        for run_id, first, _, data, _ in batches:
            length = self._lengths.get(run_id)
            least = length.add(first, len(data)) if length else None
            if least is not None:
                kept = entry_id(least + 1)
                self._server.redis.xtrim(log_key(run_id), minid=kept, approximate=False)

    def bytes(self) -> int:
        """Of all of them, as the server counts."""
        with self._server.redis.pipeline(transaction=False) as pipe:
            for run_id in self._lengths:
                pipe.memory_usage(log_key(run_id))
                pipe.memory_usage(meta_key(run_id))
            return sum(size or 0 for size in pipe.execute())
