"""Characters that an upstream split into surrogate halves.

JSON can escape half of a UTF-16 pair; UTF-8 and most JSON parsers reject it.
"""

from __future__ import annotations

import re

HIGH_SURROGATES = range(0xD800, 0xDC00)
SURROGATE = re.compile("[\ud800-\udfff]")


class SurrogateJoiner:
    """Joins surrogate pairs that were split between two texts.

    A high surrogate at the end of a text waits for the next one. A lone surrogate becomes U+FFFD.

    :ivar pending: The waiting high surrogate, or ``""``.
    """

    __slots__ = ("pending",)

    def __init__(self) -> None:
        self.pending = ""

    def join(self, text: str, *, last: bool = False) -> str:
        """``text`` as well-formed Unicode; empty if it held only a high surrogate.

        :param last: No text follows, so nothing is kept pending.
        """
        if not self.pending and text.isascii():
            return text
        text = self.pending + text
        self.pending = ""
        if text and not last and ord(text[-1]) in HIGH_SURROGATES:
            text, self.pending = text[:-1], text[-1]
        return well_formed(text)


def well_formed(text: str) -> str:
    """``text`` with surrogate pairs joined and lone surrogates replaced by U+FFFD."""
    if text.isascii() or not SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
