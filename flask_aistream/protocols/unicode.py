"""Text that is not JSON must be valid Unicode, also where a model's token ends inside a character."""

from __future__ import annotations

HIGH = range(0xD800, 0xDC00)


class Surrogates:
    """Joins the halves of characters that a UTF-16 upstream cut in two.

    Half a character at the end waits for the next text; one that stays alone becomes U+FFFD.
    """

    def __init__(self) -> None:
        self._half = ""

    def join(self, text: str, *, last: bool = False) -> str:
        """``text`` as valid Unicode.

        :param last: Nothing follows: a waiting half is given up.
        """
        text = self._half + text
        self._half = ""
        if text and not last and ord(text[-1]) in HIGH:
            text, self._half = text[:-1], text[-1]
        return valid(text)


def valid(text: str) -> str:
    """``text`` with halves that meet joined, and U+FFFD for every other."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
