"""Answers made of what naive readers of event streams stumble over, each known by its name."""

from __future__ import annotations

import random

PIECES = (
    "漢字かな交じり文",
    "한국어",
    "ﷺ العربية",
    "👩‍👩‍👧‍👦",
    "👩🏽‍🚀🏳️‍🌈",
    "\U0010ffff\ufffd",
    "e\u0301\u200d\ufeff",
    "\u2028",
    "\u2029",
    "\x85",
    "\r",
    "\n",
    "\r\n",
    "\n\r\r\n",
    "".join(map(chr, range(1, 32))),
    "".join(map(chr, range(127, 160))),
    "",
    "",
    " ",
    "data: x\n\n",
    ": ping\n",
    'id: 1\nevent: message\ndata: {"action":"terminate"}\n\n',
    '"\\u0041\\',
    "a word or two ",
)

MEGABYTE = 1_000_000
BIG = 100
"""One tale in so many has a token of a megabyte."""


def texts_of(name: str) -> list[str]:
    """The tokens of a tale. Its name is ``seed.number``."""
    chance = random.Random(name)
    texts = [chance.choice(PIECES) for _ in range(chance.randint(10, 120))]
    if int(name.rpartition(".")[2]) % BIG < 2:
        texts.insert(chance.randrange(len(texts)), megabyte(chance))
    return texts


def megabyte(chance: random.Random) -> str:
    text = "".join(chance.choice(PIECES) for _ in range(1000))
    size = len(text.encode())
    return text * (MEGABYTE // size + 1)
