"""Surrogate pairs that are split between two texts."""

from __future__ import annotations

import json

import pytest

from flask_aistream.core.unicode import SurrogateJoiner
from flask_aistream.protocols.wire import replace_lone_surrogates

CASES = [
    pytest.param(["a", "é", ""], "aé", id="whole text passes"),
    pytest.param(["a\ud83d", "\ude00b"], "a😀b", id="halves of two texts are joined"),
    pytest.param(["\ud83d", "", "\ude00"], "😀", id="also over an empty one"),
    pytest.param(
        ["\ud83d", "\ud83d", "\ude00"], "\ufffd😀", id="a half that stays alone is replaced"
    ),
    pytest.param(["\ude00a"], "\ufffda", id="a second half without a first is replaced"),
    pytest.param(["a\ud83d"], "a\ufffd", id="a half at the end is given up"),
]


@pytest.mark.parametrize(("texts", "whole"), CASES)
def test_text_is_well_formed_however_it_was_cut(texts: list[str], whole: str) -> None:
    characters = SurrogateJoiner()
    joined = "".join(characters.join(text) for text in texts) + characters.join("", last=True)
    assert joined == whole


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("\ud83d", "\ufffd"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("😀\ud83d😀", "😀\ufffd😀"),
        ("\\ud83d \\\\ud83d \\\ud83d", "\\ud83d \\\\ud83d \\\ufffd"),
        ('"\ud83d"\n', '"\ufffd"\n'),
        ("é\u2028\ud83d", "é\u2028\ufffd"),
    ],
)
def test_json_contains_no_lone_surrogates(text: str, read: str) -> None:
    assert json.loads(replace_lone_surrogates(json.dumps(text))) == read
