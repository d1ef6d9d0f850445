"""The former single class, until web/ uses its parts: registry, limits, watchdog and recall."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from flask_aistream.delivery.body import Delivery
from flask_aistream.delivery.limits import ConnectionLimits
from flask_aistream.delivery.limits import ConnectionSlot
from flask_aistream.delivery.recall import Recall
from flask_aistream.delivery.recall import close_recalled
from flask_aistream.delivery.registry import ConnectionRegistry
from flask_aistream.delivery.watchdog import WriteWatchdog


class Connections:
    def __init__(
        self,
        lock: AbstractContextManager[object],
        *,
        patience: float | None,
        most: int | None = None,
        most_per_owner: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        random_ms: Callable[[int, int], int] = random.randint,
    ) -> None:
        self.registry = ConnectionRegistry(lock)
        self.limits = ConnectionLimits(lock, most=most, most_per_owner=most_per_owner)
        self.watchdog = WriteWatchdog(self.registry, patience=patience, clock=clock)
        self._recall = Recall(self.registry, random_ms)
        self._slots: dict[Delivery, ConnectionSlot] = {}
        self.recall = self._recall.recall
        self.sweep = self.watchdog.check

    @property
    def count(self) -> int:
        return len(self.registry)

    @property
    def rest(self) -> float | None:
        return self.watchdog.interval

    def check(self, owner: str | None) -> None:
        self.limits.acquire(owner).release()

    def add(self, delivery: Delivery, fd: int | None, owner: str | None = None) -> None:
        self._slots[delivery] = self.limits.acquire(owner)
        self.registry.add(delivery, fd)
        self._recall.opened(delivery)

    def forget(self, delivery: Delivery, owner: str | None = None) -> None:
        slot = self._slots.pop(delivery, None)
        if slot is not None:
            slot.release()
            close_recalled(delivery, self.registry.remove(delivery))
