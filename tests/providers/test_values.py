"""Values of the application's own events: converted once, or refused, whatever the store is."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import typing as t
import uuid
from dataclasses import dataclass

import pydantic
import pytest

from flask_aistream.core import events as ev
from flask_aistream.errors import ValueInvalid
from flask_aistream.providers.table import Chunks
from flask_aistream.providers.values import to_json_value


class Model(pydantic.BaseModel):
    price: decimal.Decimal
    tags: set[str]


@dataclass
class Point:
    x: int
    at: datetime.date


class Colour(enum.Enum):
    RED = "red"


UTC = datetime.timezone.utc
CONVERTED = [
    pytest.param(decimal.Decimal("9.90"), "9.90", id="decimal"),
    pytest.param(uuid.UUID(int=7), str(uuid.UUID(int=7)), id="uuid"),
    pytest.param(
        datetime.datetime(2026, 1, 2, 3, tzinfo=UTC), "2026-01-02T03:00:00+00:00", id="time"
    ),
    pytest.param(datetime.date(2026, 1, 2), "2026-01-02", id="date"),
    pytest.param(datetime.timedelta(seconds=1.5), 1.5, id="duration"),
    pytest.param(
        Model(price=decimal.Decimal("1.5"), tags={"a"}),
        {"price": "1.5", "tags": ["a"]},
        id="pydantic",
    ),
    pytest.param(Point(1, datetime.date(2026, 1, 2)), {"x": 1, "at": "2026-01-02"}, id="dataclass"),
    pytest.param(Colour.RED, "red", id="enum"),
    pytest.param((1, (2, 3)), [1, [2, 3]], id="tuple"),
    pytest.param(
        {1: "a", None: "b", False: "c"},
        {"1": "a", "null": "b", "false": "c"},
        id="keys as JSON has them",
    ),
    pytest.param([float("nan"), float("inf"), 1.5], [None, None, 1.5], id="no number"),
]
REFUSED = [object(), b"bytes", {(1, 2): 3}, Point, lambda: None, {"a": [{"b": object()}]}]


@pytest.mark.parametrize(("value", "same"), CONVERTED)
def test_a_value_is_converted_to_json_at_the_yield(value: t.Any, same: t.Any) -> None:
    chunks = Chunks()

    events = [
        *chunks.events(ev.Data("price", value)),
        *chunks.events(ev.ToolCall("c", "f", value)),
        *chunks.events(ev.ToolResult("c", value)),
    ]

    assert events == [ev.Data("price", same), ev.ToolCall("c", "f", same), ev.ToolResult("c", same)]
    assert json.loads(json.dumps(same)) == same


def test_numbers_of_numpy_are_numbers() -> None:
    numpy = pytest.importorskip("numpy")
    assert to_json_value({"a": numpy.float64(1.5), "b": numpy.int32(2), "c": numpy.arange(3)}) == {
        "a": 1.5,
        "b": 2,
        "c": [0, 1, 2],
    }


@pytest.mark.parametrize("value", REFUSED, ids=lambda value: type(value).__name__)
def test_a_value_without_a_json_form_is_refused_by_its_place_and_type(value: t.Any) -> None:
    with pytest.raises(ValueInvalid, match="has no JSON form: the value"):
        Chunks().events(ev.Data("odd", value))


def test_a_value_that_holds_itself_is_refused() -> None:
    value: list[t.Any] = []
    value.append(value)
    with pytest.raises(ValueInvalid, match="deeper than 100"):
        to_json_value(value)
