"""One source, many readers, as asyncio applications do it: a queue for each reader."""

from __future__ import annotations

import asyncio
import typing as t
from collections.abc import Callable

from benchmarks.servers.tokens import Plan
from benchmarks.servers.tokens import async_provider


class Fan:
    def __init__(self) -> None:
        self._readers: list[asyncio.Queue[t.Any]] = []
        self._publishing: asyncio.Task[None] | None = None

    def join(self) -> asyncio.Queue[t.Any]:
        queue: asyncio.Queue[t.Any] = asyncio.Queue()
        self._readers.append(queue)
        return queue

    def start(self, plan: Plan, frame: Callable[[int, str], t.Any]) -> None:
        """Put each token, encoded once, into every queue; ``None`` is the end."""
        self._publishing = asyncio.create_task(self._publish(plan, frame))

    async def _publish(self, plan: Plan, frame: Callable[[int, str], t.Any]) -> None:
        number = 0
        async for text in async_provider(plan):
            block = frame(number, text)
            number += 1
            for queue in self._readers:
                queue.put_nowait(block)
        for queue in self._readers:
            queue.put_nowait(None)
