"""Answers without a model: looks a question up in this project's documentation and quotes it.

It says that it does so, gives its sources, and says when it found nothing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence

from example_app.manual.passages import Passage
from example_app.manual.passages import read_all
from example_app.manual.search import Index
from example_app.manual.search import asked_terms
from example_app.models.base import Model
from flask_aistream import ChatRequest
from flask_aistream import SourceDocument

WORDS_PER_SECOND = 35.0  # A brisk model. Slow enough to press Stop, fast enough not to wait.
WORD = re.compile(r"\s*\S+|\s+$")

MOST_PASSAGES = 3
MOST_WORDS = 260
FAR_BEHIND = 0.6  # A passage with less than this part of the best score only distracts.
COVERED = 0.35  # Fits: speaks of at least this part of what was asked.
# Guides explain, references list, docstrings define: who asks wants the guide where all fit.
WEIGHTS = {"docs/reference/config.md": 1.0, "docs/reference/": 0.75, "flask_aistream/": 0.55}

QUESTIONS = (
    "What happens when the connection is lost?",
    "How do I stop a run?",
    "How do I deploy this with gunicorn and nginx?",
    "Who may read a run?",
)

INTRODUCTION = """\
I am the example application of flask_aistream. I am not a language model: no key for one was \
set when this application was started, so I look your question up in the project's documentation \
and quote what I find, at the pace of a model.

The stream is real all the same. While I answer, you can press Stop, reload this page, or cut the \
connection: nothing is lost. Ask me, for example:

"""

NOTHING = """\
I found nothing about this in the documentation of flask_aistream, and I am not a language model: \
quoting that documentation is all I can do. Start the application with `OPENAI_API_KEY` or \
`ANTHROPIC_API_KEY` in its environment to have a model answer. Ask me, for example:

"""

PREFACE = "I am not a language model; this is what the documentation says."

GREETINGS = "hello hallo hi hey introduce yourself help start test thanks thank"


class Librarian:
    """Answers from ``passages``.

    :param sleep: Called between two words with the seconds to wait.
    """

    def __init__(
        self, passages: Sequence[Passage], sleep: Callable[[float], object] = time.sleep
    ) -> None:
        self._passages = passages
        # The title says most about a passage: it counts twice.
        self._index = Index([f"{p.title} {p.title} {p.text}" for p in passages])
        self._sleep = sleep

    def answer(self, request: ChatRequest) -> Iterator[str | SourceDocument]:
        """Stream the answer word by word, each passage's source just before its text."""
        if introduces(request.prompt):
            return self._speak(INTRODUCTION + bullets(QUESTIONS))
        found = self.look_up(request.prompt)
        if not found:
            return self._speak(NOTHING + bullets(QUESTIONS))
        return self._quote(found)

    def look_up(self, question: str) -> list[Passage]:
        """The passages to quote, best first; none where nothing fits."""
        hits = [hit for hit in self._index.search(question) if hit.coverage >= COVERED]
        ranked = sorted((hit.score * weight(self._passages[hit.place]), -hit.place) for hit in hits)
        chosen: list[Passage] = []
        words = 0
        for score, place in reversed(ranked[-MOST_PASSAGES:]):
            passage = self._passages[-place]
            words += len(passage.text.split())
            close = score >= FAR_BEHIND * ranked[-1][0] and words <= MOST_WORDS
            if not chosen or (close and not repeats(passage, chosen)):
                chosen.append(passage)
        return chosen

    def _quote(self, passages: Iterable[Passage]) -> Iterator[str | SourceDocument]:
        yield from self._speak(PREFACE)
        for number, passage in enumerate(passages, 1):
            yield SourceDocument(f"{number}", passage.title, media_type(passage), passage.path)
            yield from self._speak(f"\n\n### {passage.title}\n\n{passage.text}")

    def _speak(self, text: str) -> Iterator[str]:
        for word in WORD.findall(text):
            yield word
            self._sleep(1 / WORDS_PER_SECOND)


def introduces(prompt: str) -> bool:
    """Whether there is no question in it, only a greeting."""
    words = [either[0] for either in asked_terms(prompt)]
    return all(word in STEMMED_GREETINGS for word in words)


def repeats(passage: Passage, chosen: Iterable[Passage]) -> bool:
    """Whether most of it has been said: guides show the same code in several places."""
    lines = set(passage.text.splitlines())
    said = {line for other in chosen for line in other.text.splitlines()}
    return len(lines & said) > len(lines) / 2


def weight(passage: Passage) -> float:
    """How much a hit in this passage counts."""
    return next((by for start, by in WEIGHTS.items() if passage.path.startswith(start)), 1.0)


def media_type(passage: Passage) -> str:
    return "text/markdown" if passage.path.endswith(".md") else "text/x-python"


def bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


STEMMED_GREETINGS = {either[0] for either in asked_terms(GREETINGS)}


def model() -> Model:
    return Model(
        "offline",
        "Offline: quotes this project's documentation",
        Librarian(read_all()).answer,
        QUESTIONS,
    )
