"""What the suite's providers say: token ``n`` can be told from every other, and is hard to pass on."""

from __future__ import annotations

import re

# Line ends of the format and others, and characters of each length in UTF-8.
TAILS = (" ", "\n", " é", "\r\n", " 漢", "\r", " 🙂", "\u2028", ' "', "\\ ")


def token(number: int) -> str:
    return f"{number}{TAILS[number % len(TAILS)]}"


def whole(count: int) -> str:
    """The first ``count`` tokens together."""
    return "".join(map(token, range(count)))


def tokens_in(text: str) -> int | None:
    """How many tokens a text has; ``None`` where it is not the first ones in order."""
    count = len(re.findall(r"\d+", text))
    return count if text == whole(count) else None
