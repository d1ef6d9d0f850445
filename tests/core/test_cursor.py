from __future__ import annotations

import pytest

from flask_aistream.core.cursor import Cursor
from flask_aistream.core.run import new_run_id
from flask_aistream.errors import CursorInvalid

WELL_FORMED = [
    ("r:0", Cursor("r", 0)),
    ("4xQ_-Z:17", Cursor("4xQ_-Z", 17)),
    ("r:007", Cursor("r", 7)),
    ("r:" + "9" * 15, Cursor("r", 10**15 - 1)),
    ("a" * 64 + ":1", Cursor("a" * 64, 1)),
]

MALFORMED = [
    "",
    ":",
    "r",
    "r:",
    ":1",
    "r1/7",
    "r:-1",
    "r:+1",
    "r:1.0",
    "r: 1",
    " r:1",
    "r:1\n",
    "r:1:2",
    "r:1_000",
    "r:١",
    "r:²",
    "é:1",
    "r\0:1",
    "../r:1",
    "r:" + "9" * 16,
    "a" * 65 + ":1",
]


@pytest.mark.parametrize(("text", "cursor"), WELL_FORMED)
def test_the_value_of_an_id_field_is_parsed(text: str, cursor: Cursor) -> None:
    assert Cursor.parse(text) == cursor


@pytest.mark.parametrize("text", MALFORMED)
def test_any_other_text_is_rejected_with_the_expected_format(text: str) -> None:
    with pytest.raises(CursorInvalid, match=r"expected `run:number`.*Omit it"):
        Cursor.parse(text)


def test_an_error_shortens_a_long_text() -> None:
    with pytest.raises(CursorInvalid) as caught:
        Cursor.parse("x" * 100_000)
    assert len(str(caught.value)) < 500


def test_a_cursor_survives_formatting_and_parsing() -> None:
    cursor = Cursor(new_run_id(), 12)
    assert Cursor.parse(str(cursor)) == cursor


def test_run_ids_are_128_random_bits_and_fit_into_a_cursor() -> None:
    ids = {new_run_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(Cursor.parse(f"{run}:0").run == run for run in ids)
    assert {len(run) for run in ids} == {22}
