"""The search for texts that fit a question."""

from __future__ import annotations

import pytest

from example_app.manual.search import Index
from example_app.manual.search import asked_terms
from example_app.manual.search import stem
from example_app.manual.search import words_of

TEXTS = [
    "A run is stopped by a click, or when nobody reads it.",
    "nginx passes streams on when buffering is off.",
    "EventSource comes back with Last-Event-ID and resumes the run.",
    "AISTREAM_FLUSH_SECONDS is the time between two writes.",
]

SAME = [
    ("stream", "streams"),
    ("stream", "streaming"),
    ("stop", "stopped"),
    ("run", "running"),
    ("resume", "resumes"),
    ("resume", "resuming"),
    ("provider", "providers"),
    ("retry", "retries"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_forms_of_a_word_are_one_term(one: str, other: str) -> None:
    assert stem(one) == stem(other)


@pytest.mark.parametrize(
    ("one", "other"), [("cors", "core"), ("cors", "cursor"), ("class", "clas")]
)
def test_different_words_stay_different(one: str, other: str) -> None:
    assert stem(one) != stem(other)


def test_a_name_is_found_whole_and_by_its_parts() -> None:
    assert {"eventsource", "event", "source"} <= set(words_of("EventSource"))
    assert {"aistream_flush_seconds", "flush"} <= set(words_of("AISTREAM_FLUSH_SECONDS"))


QUESTIONS = [
    ("How do I stop a run?", 0),
    ("Why is nginx buffering?", 1),
    ("what does eventsource do", 2),
    ("last-event-id", 2),
    ("flush", 3),
    ("AISTREAM_FLUSH_SECONDS?", 3),
    ("how can I cancel", 0),  # A synonym.
]


@pytest.mark.parametrize(("question", "place"), QUESTIONS)
def test_the_fitting_text_comes_first(question: str, place: int) -> None:
    assert Index(TEXTS).search(question)[0].place == place


def test_coverage_tells_how_much_of_the_question_was_spoken_of() -> None:
    index = Index(TEXTS)
    assert index.search("nginx buffering")[0].coverage == 1
    assert 0 < index.search("nginx in Antarctica")[0].coverage < 0.5


@pytest.mark.parametrize("question", ["", "?!", "how is the", "zebra", "斑馬", "\x00"])
def test_nothing_is_found_where_nothing_fits(question: str) -> None:
    assert Index(TEXTS).search(question) == []


def test_no_texts_are_no_trouble() -> None:
    assert Index([]).search("anything") == []


def test_a_word_asked_twice_counts_once() -> None:
    assert asked_terms("stop, stop, stopping") == asked_terms("stop")
