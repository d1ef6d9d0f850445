from __future__ import annotations

import pytest

from flask_aistream.core.page import Page
from flask_aistream.runs.intern import MAX_CHARACTERS
from flask_aistream.runs.intern import MAX_TEXTS
from flask_aistream.runs.intern import InternPool
from tests.runs.support import new_log
from tests.runs.test_pump import pump_of


def new(text: str) -> str:
    """The same text as another object."""
    return "".join(list(text))


@pytest.mark.parametrize(
    "text", ["", "a", " the", "日本語", "x" * MAX_CHARACTERS, "x" * (MAX_CHARACTERS + 1)]
)
def test_an_interned_text_is_equal_to_the_original(text: str) -> None:
    pool = InternPool()
    assert [pool[text], pool[new(text)]] == [text, text]


def test_equal_short_texts_are_one_object() -> None:
    pool = InternPool()
    assert pool[new(" the")] is pool[new(" the")]


def test_long_texts_are_not_interned() -> None:
    pool = InternPool()
    assert pool["x" * (MAX_CHARACTERS + 1)]
    assert not pool


def test_the_pool_is_bounded() -> None:
    pool = InternPool()
    for number in range(3 * MAX_TEXTS):
        pool[str(number)]
    assert len(pool) <= MAX_TEXTS


def test_two_runs_share_equal_texts() -> None:
    pages: list[Page] = []
    for _ in range(2):
        log = new_log()
        pump_of(lambda request: iter([new(" again")]), log).run(lambda: None)
        pages.append(log.read(0))
    assert pages[0].events[0] is pages[1].events[0]
