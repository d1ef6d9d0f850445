"""Find the texts that fit a question: BM25 over stemmed words.

Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass

# The usual values: how soon a repeated word stops to count, how much a long text is held back.
SATURATION = 1.2
LENGTH = 0.75

WORD = re.compile(r"[^\W_]+(?:_[^\W_]+)*")
HUMPS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
# Endings that words of one meaning differ in, and how much must be left of a word without one.
ENDINGS = {
    "ations": 3,
    "ation": 3,
    "ings": 3,
    "ing": 3,
    "ers": 4,
    "er": 4,
    "ies": 3,
    "ed": 3,
    "es": 4,
    "s": 3,
    "e": 4,
    "y": 4,
}

SAYS_NOTHING = """
a about an and any are as at be been but by can could do does for from get give had happen
happens has have how i if in into is it its just like many me mean means my need of on or our
please should so some tell than that the their them then there these they thing this to us use
used uses using want was we what when where which who why will with without work works would you
your
"""
STOP_WORDS = frozenset(SAYS_NOTHING.split())

# What people ask for → the word the documentation has for it.
SYNONYMS = {
    "abort": "stop",
    "button": "stop",
    "cancel": "stop",
    "continue": "resume",
    "reconnect": "resume",
    "refresh": "reload",
    "offline": "connection",
    "disconnect": "connection",
    "drop": "lost",
    "lose": "lost",
    "auth": "owner",
    "login": "owner",
    "user": "owner",
    "token": "text",
    "install": "pip",
    "setting": "configuration",
    "config": "configuration",
    "option": "configuration",
    "crash": "error",
    "exception": "error",
    "retry": "idempotency",
    "twice": "idempotency",
    "fail": "error",
    "javascript": "aistream",
    "js": "aistream",
    "production": "gunicorn",
    "deploy": "gunicorn",
    "proxy": "nginx",
    "asyncio": "async",
    "coroutine": "async",
    "callback": "signal",
    "hook": "signal",
    "billing": "usage",
    "cost": "usage",
    "size": "bytes",
    "maximum": "most",
    "limit": "most",
}


@dataclass(frozen=True, slots=True)
class Hit:
    """A text that shares words with the question.

    :param place: Its place among the texts.
    :param score: Higher fits better; comparable within one question only.
    :param coverage: Which part of the question it speaks of, from 0 to 1, rare words counting more.
    """

    place: int
    score: float
    coverage: float


class Index:
    """Built once, asked often, never changed: it may be shared between threads."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._counts = [Counter(terms(text)) for text in texts]
        lengths = [sum(counts.values()) for counts in self._counts]
        self._mean = sum(lengths) / max(len(texts), 1) or 1.0
        # BM25 would reward a scrap for being short; what is short says little.
        self._lengths = [max(length, self._mean) for length in lengths]
        spread = Counter(term for counts in self._counts for term in counts)
        # A word that no text has is the rarest of all: who asks for it must hear that nothing fits.
        self._weights = {term: self._weight(found) for term, found in spread.items()}
        self._unknown = self._weight(0)

    def search(self, question: str) -> list[Hit]:
        """Every text that shares a word with ``question``, best first."""
        asked = asked_terms(question)
        total = sum(max(self._of(term) for term in either) for either in asked)
        hits = (self._hit(place, asked, total) for place in range(len(self._counts)))
        return sorted((hit for hit in hits if hit.score), key=lambda hit: (-hit.score, hit.place))

    def _hit(self, place: int, asked: list[list[str]], total: float) -> Hit:
        counts = self._counts[place]
        brake = SATURATION * (1 - LENGTH + LENGTH * self._lengths[place] / self._mean)
        score = covered = 0.0
        for either in asked:
            found = max((t for t in either if counts[t]), key=self._of, default=None)
            if found is not None:
                count = counts[found]
                score += self._of(found) * count * (SATURATION + 1) / (count + brake)
                covered += max(self._of(term) for term in either)
        return Hit(place, score, covered / total if total else 0.0)

    def _of(self, term: str) -> float:
        return self._weights.get(term, self._unknown)

    def _weight(self, found: int) -> float:
        """How telling a word is that ``found`` texts have (the inverse document frequency)."""
        return math.log(1 + (len(self._counts) - found + 0.5) / (found + 0.5))


def asked_terms(question: str) -> list[list[str]]:
    """Each thing asked for, once, as the terms that would all do."""
    words = dict.fromkeys(word for word in words_of(question) if word not in STOP_WORDS)
    found = [[stem(word), *synonyms(word)] for word in words]
    return list({tuple(either): either for either in found}.values())


def synonyms(word: str) -> list[str]:
    same = SYNONYMS.get(word) or SYNONYMS.get(stem(word)) or STEMMED.get(stem(word))
    return [stem(same)] if same else []


def terms(text: str) -> list[str]:
    return [stem(word) for word in words_of(text) if word not in STOP_WORDS]


def words_of(text: str) -> Iterable[str]:
    """Words in lower case; ``AISTREAM_FLUSH_SECONDS`` and ``EventSource`` whole and in parts."""
    for name in WORD.findall(text):
        yield name.lower()
        parts = [part for piece in name.split("_") for part in HUMPS.findall(piece)]
        if len(parts) > 1:
            yield from (part.lower() for part in parts)


def stem(word: str) -> str:
    """``streams``, ``streaming`` and ``streamed`` → ``stream``. Rough, and the same on both sides."""
    for ending, least in ENDINGS.items():
        if word.endswith(ending) and len(word) - len(ending) >= least and not word.endswith("ss"):
            word = word.removesuffix(ending)
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word


STEMMED = {stem(word): same for word, same in SYNONYMS.items()}
