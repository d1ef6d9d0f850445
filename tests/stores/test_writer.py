"""How the worker that talks to the database groups what it has to say."""

from __future__ import annotations

import pytest

from flask_aistream.stores.shared.writer import MAX_ROUND_SECONDS
from flask_aistream.stores.shared.writer import ROUND_SECONDS
from flask_aistream.stores.shared.writer import pause_after

PAUSES = [
    pytest.param(0.0001, ROUND_SECONDS, id="a short one is soon followed by the next"),
    pytest.param(0.0005, 0.008, id="a longer one less soon"),
    pytest.param(0.1, MAX_ROUND_SECONDS, id="but nobody is kept waiting for long"),
]


@pytest.mark.parametrize(("took", "pause"), PAUSES)
def test_rounds_are_fewer_where_they_take_long(took: float, pause: float) -> None:
    assert pause_after(took) == pytest.approx(pause)
