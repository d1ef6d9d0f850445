"""Neighbouring events as one piece of text, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_aistream.core import events as ev
from flask_aistream.core.events import Event
from flask_aistream.stores.codec import MARKS
from flask_aistream.stores.codec import decode
from flask_aistream.stores.codec import encode
from flask_aistream.stores.codec import freeze

EXAMPLES = [
    pytest.param([], "[]", id="nothing"),
    pytest.param(["Hel"], '["Hel"]', id="one text"),
    pytest.param(["Hel", "lo"], '[["|Hel|lo"]]', id="several texts lie together"),
    pytest.param(["", ""], '[["||"]]', id="empty texts"),
    pytest.param(["a|b", "c"], '[["~a|b~c"]]', id="a mark that one of them has"),
    pytest.param(["|~", "^"], '["|~","^"]', id="all marks"),
    pytest.param(["\ud83d", "\ude00"], r'[["|\ud83d|\ude00"]]', id="halves of a character"),
    pytest.param(["a", ev.Finished()], None, id="something else behind"),
    pytest.param([ev.Finished(), "a", "b"], None, id="something else before"),
]


@pytest.mark.parametrize(("events", "data"), EXAMPLES)
def test_decoding_inverts_encoding(events: list[Event], data: str | None) -> None:
    joined = encode(events)
    assert data in (None, joined)
    assert decode(joined) == events


def test_an_event_keeps_what_it_held_when_it_was_appended() -> None:
    value = {"n": [1]}
    event = freeze(ev.Data("numbers", value))
    value["n"].append(2)
    assert event == ev.Data("numbers", {"n": [1]})


@given(st.lists(st.text(st.sampled_from(MARKS + '"\\a\0é\ud83d')) | st.just(ev.Finished())))
def test_any_events_come_back(events: list[Event]) -> None:
    joined = encode(events)
    assert joined.isascii()
    assert decode(joined) == events
