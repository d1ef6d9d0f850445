"""A model's text may end inside a character: JSON can say half of one, hardly anything else can."""

from __future__ import annotations

import re

HIGH = range(0xD800, 0xDC00)
LONE = re.compile("[\ud800-\udfff]")


class Characters:
    """Joins the halves of characters that a UTF-16 upstream cut in two.

    Half a character at the end waits for the next text; one that stays alone becomes U+FFFD.

    :ivar half: What waits. Where nothing does, ASCII need not be joined.
    """

    __slots__ = ("half",)

    def __init__(self) -> None:
        self.half = ""

    def join(self, text: str, *, last: bool = False) -> str:
        """``text`` as valid Unicode; may be empty where only half a character came.

        :param last: Nothing follows: a waiting half is given up.
        """
        if not self.half and text.isascii():
            return text
        text = self.half + text
        self.half = ""
        if text and not last and ord(text[-1]) in HIGH:
            text, self.half = text[:-1], text[-1]
        return valid(text)


def valid(text: str) -> str:
    """``text`` with halves that meet joined, and U+FFFD for every other."""
    if text.isascii() or not LONE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
