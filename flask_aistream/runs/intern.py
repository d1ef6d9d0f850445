"""The words that runs say, each kept once.

Models say the same few thousand short texts over and over. As an object of its own each takes 64 bytes, for as
long as its run is kept; as one more mention of a text that was said before, 8.
"""

from __future__ import annotations

LONGEST = 16
"""Characters. Longer texts seldom come twice."""

MOST = 16_384
"""Texts that are known, 2 MB. Then all are forgotten at once, which those that are in use soon get over: to
know which were used last would cost every token more than this saves it."""


class InternPool(dict[str, str]):
    """``words[text]`` is ``text``: the same object for all who say it. Any thread may ask."""

    def __missing__(self, text: str) -> str:
        if len(text) <= LONGEST:
            if len(self) >= MOST:
                self.clear()
            self[text] = text
        return text


INTERN_POOL = InternPool()
"""Of this process."""
