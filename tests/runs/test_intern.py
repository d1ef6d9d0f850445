from __future__ import annotations

import pytest

from flask_aistream.core.page import Page
from flask_aistream.runs.intern import LONGEST
from flask_aistream.runs.intern import MOST
from flask_aistream.runs.intern import InternPool
from tests.runs.support import new_log
from tests.runs.test_pump import pump_of


def new(text: str) -> str:
    """The same text as another object."""
    return "".join(list(text))


@pytest.mark.parametrize("text", ["", "a", " the", "日本語", "x" * LONGEST, "x" * (LONGEST + 1)])
def test_a_text_stays_what_it_is(text: str) -> None:
    words = InternPool()
    assert [words[text], words[new(text)]] == [text, text]


def test_a_short_text_is_one_object_however_often_it_is_said() -> None:
    words = InternPool()
    assert words[new(" the")] is words[new(" the")]


def test_long_texts_are_not_kept() -> None:
    words = InternPool()
    assert words["x" * (LONGEST + 1)]
    assert not words


def test_what_is_known_is_bounded() -> None:
    words = InternPool()
    for number in range(3 * MOST):
        words[str(number)]
    assert len(words) <= MOST


def test_two_runs_that_say_the_same_share_it() -> None:
    pages: list[Page] = []
    for _ in range(2):
        log = new_log()
        pump_of(lambda request: iter([new(" again")]), log).run(lambda: None)
        pages.append(log.read(0))
    assert pages[0].events[0] is pages[1].events[0]
