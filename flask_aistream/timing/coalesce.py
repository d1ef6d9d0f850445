"""Handle many items with one callback.

When 1,000 clients disconnect at once, a timer for each connection delays the end of their runs: it costs 18 % more CPU
time up to the last end (median of ten paired runs, 0 to 49 %).
"""

from __future__ import annotations

import typing as t
from collections import deque
from collections.abc import Callable

Item = t.TypeVar("Item")


class Coalescer(t.Generic[Item]):
    """Collects items from the first one until the callback it schedules, which handles all of them.

    Any thread may add items. Adding never blocks.

    :param schedule: Calls its argument back once, later. Called for the first item only.
    :param handle: Called with each item. Must not raise.
    """

    __slots__ = ("_handle", "_items", "_schedule", "_scheduled")

    def __init__(
        self,
        schedule: Callable[[Callable[[], None]], object],
        handle: Callable[[Item], object],
    ) -> None:
        self._schedule = schedule
        self._handle = handle
        self._items: deque[Item] = deque()
        self._scheduled = False

    def add(self, item: Item) -> None:
        self._items.append(item)
        if not self._scheduled:
            try:
                self._scheduled = True
                self._schedule(self._handle_all)
            except BaseException:
                # The next item must schedule again.
                self._scheduled = False
                raise

    def _handle_all(self) -> None:
        # Reset first: an item that another thread adds concurrently schedules another callback, perhaps needlessly.
        self._scheduled = False
        while self._items:
            self._handle(self._items.popleft())
