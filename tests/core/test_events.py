from __future__ import annotations

import dataclasses

import pytest

from flask_aistream.core import events as ev
from flask_aistream.core.page import Page
from flask_aistream.core.run import Run
from tests.core.samples import EVENTS


def test_events_are_immutable() -> None:
    for event in EVENTS:
        if not isinstance(event, str):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(event, dataclasses.fields(event)[0].name, "other")


def test_an_unknown_finish_reason_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"one of stop, length, .* `other`"):
        ev.Finished("done")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("usage", "total"),
    [
        (ev.Usage(), None),
        (ev.Usage(reasoning_tokens=3), None),
        (ev.Usage(input_tokens=2), 2),
        (ev.Usage(output_tokens=0), 0),
        (ev.Usage(2, 3, 1, 1), 5),
    ],
)
def test_total_tokens_counts_no_token_twice(usage: ev.Usage, total: int | None) -> None:
    assert usage.total_tokens == total


@pytest.mark.parametrize(
    ("page", "last", "records"),
    [
        (Page(5, ["a", "b"], False), 6, [(5, "a"), (6, "b")]),
        (Page(5, [], True), 4, []),
        (Page(0, [], False), -1, []),
    ],
)
def test_a_page_numbers_its_events(
    page: Page, last: int, records: list[tuple[int, ev.Event]]
) -> None:
    assert page.last == last
    assert list(page.records()) == records


@pytest.mark.parametrize(
    ("owner", "caller", "may"),
    [
        (None, None, True),
        (None, "ann", True),
        ("ann", "ann", True),
        ("ann", "bob", False),
        ("ann", None, False),
        ("", None, False),
        ("", "", True),
    ],
)
def test_a_run_is_readable_by_its_owner_or_by_everyone_if_it_has_none(
    owner: str | None, caller: str | None, may: bool
) -> None:
    assert Run("r", "chat", 0.0, owner).readable_by(caller) is may
