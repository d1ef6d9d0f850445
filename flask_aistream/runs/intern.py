"""Keep one copy of each short text that runs append.

Models produce the same few thousand short texts again and again. Memory per retained token, with Zipf-distributed words
(median of ten, paired): 15.7 bytes with the pool, 62.2 without. It costs 6 % of the CPU time of a token.
"""

from __future__ import annotations

MAX_CHARACTERS = 16
"""Longer texts rarely repeat."""

MAX_TEXTS = 16_384
"""Capacity, 2 MB. A full pool is cleared: an LRU order would cost every token more than the refill does."""


class InternPool(dict[str, str]):
    """``pool[text]`` is the first object equal to ``text`` that the pool has seen. Thread-safe."""

    def __missing__(self, text: str) -> str:
        if len(text) <= MAX_CHARACTERS:
            if len(self) >= MAX_TEXTS:
                self.clear()
            self[text] = text
        return text


INTERN_POOL = InternPool()
"""The pool of this process."""
