"""A model's text may end inside a character: JSON can hold half of one, hardly anything else can."""

from __future__ import annotations

import re

HIGH = range(0xD800, 0xDC00)
LONE = re.compile("[\ud800-\udfff]")


class SurrogateJoiner:
    """Joins the halves of characters that a UTF-16 upstream cut in two.

    Half a character at the end waits for the next text; one that stays alone becomes U+FFFD.

    :ivar pending: What waits. Where nothing does, ASCII need not be joined.
    """

    __slots__ = ("pending",)

    def __init__(self) -> None:
        self.pending = ""

    def join(self, text: str, *, last: bool = False) -> str:
        """``text`` as valid Unicode; may be empty where only half a character came.

        :param last: Nothing follows: a waiting pending is given up.
        """
        if not self.pending and text.isascii():
            return text
        text = self.pending + text
        self.pending = ""
        if text and not last and ord(text[-1]) in HIGH:
            text, self.pending = text[:-1], text[-1]
        return well_formed(text)


def well_formed(text: str) -> str:
    """``text`` with halves that meet joined, and U+FFFD for every other."""
    if text.isascii() or not LONE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
