"""Values of the application's own events: converted once, or refused, whatever the store is."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import typing as t
import uuid
from collections import deque
from collections import namedtuple
from dataclasses import dataclass

import attrs
import numpy
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


class Page(pydantic.BaseModel):
    url: pydantic.HttpUrl


@attrs.define
class Size:
    width: int
    unit: str = "cm"


class Text(str):
    __slots__ = ()


Pair = namedtuple("Pair", "a b")


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


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
    pytest.param(Level.HIGH, 3, id="number of an enum"),
    pytest.param(datetime.time(3, 4), "03:04:00", id="time of day"),
    pytest.param(
        Page(url=pydantic.HttpUrl("https://example.org/a")),
        {"url": "https://example.org/a"},
        id="URL",
    ),
    pytest.param(Size(2), {"width": 2, "unit": "cm"}, id="attrs"),
    pytest.param(Pair(1, 2), [1, 2], id="named tuple"),
    pytest.param({7}, [7], id="set"),
    pytest.param(deque([1, 2]), [1, 2], id="deque"),
    pytest.param(range(3), [0, 1, 2], id="range"),
    pytest.param(2**64 + 1, 2**64 + 1, id="long integer"),
    pytest.param("\ud83d \x00 \u2028", "\ud83d \x00 \u2028", id="half a character"),
    pytest.param({"\udc00": 1}, {"\udc00": 1}, id="half a character as key"),
    pytest.param(numpy.float64(1.5), 1.5, id="numpy float"),
    pytest.param(numpy.float32("nan"), None, id="numpy NaN"),
    pytest.param(numpy.int32(2), 2, id="numpy integer"),
    pytest.param(numpy.bool_(True), True, id="numpy boolean"),
    pytest.param(numpy.arange(4).reshape(2, 2), [[0, 1], [2, 3]], id="numpy array"),
    pytest.param(numpy.datetime64("2026-01-02"), "2026-01-02", id="numpy date"),
    pytest.param(
        {decimal.Decimal("1.5"): 1, datetime.date(2026, 1, 2): 2, Colour.RED: 3, 1.5: 4},
        {"1.5": 4, "2026-01-02": 2, "red": 3},
        id="keys that are no strings",
    ),
    pytest.param((1, (2, 3)), [1, [2, 3]], id="tuple"),
    pytest.param(
        {1: "a", None: "b", False: "c"},
        {"1": "a", "null": "b", "false": "c"},
        id="keys as JSON has them",
    ),
    pytest.param([float("nan"), float("inf"), 1.5], [None, None, 1.5], id="no number"),
]
REFUSED = [
    object(),
    b"bytes",
    {(1, 2): 3},
    {b"a": 1},
    Point,
    lambda: None,
    {"a": [{"b": object()}]},
    10**1000,
    {10**1000: 1},
    numpy.complex64(1),
    (it for it in [1]),
    pydantic.SecretStr("secret"),
]


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
    assert type(to_json_value(value)) is type(same)


@pytest.mark.parametrize("value", REFUSED, ids=lambda value: type(value).__name__)
def test_a_value_without_a_json_form_is_refused_by_its_place_and_type(value: t.Any) -> None:
    with pytest.raises(ValueInvalid, match=r"has no JSON form: Data\.value"):
        Chunks().events(ev.Data("odd", value))


def test_a_value_that_holds_itself_is_refused() -> None:
    value: list[t.Any] = []
    value.append(value)
    with pytest.raises(ValueInvalid, match="deeper than 100"):
        to_json_value(value)


ID = uuid.UUID(int=7)
FIELDS: list[tuple[ev.Event, ev.Event]] = [
    (ev.ToolCall(t.cast(t.Any, ID), "f", {}), ev.ToolCall(str(ID), "f", {})),
    (ev.ToolResult(t.cast(t.Any, 5), 1), ev.ToolResult("5", 1)),
    (ev.Usage(t.cast(t.Any, numpy.int64(3)), t.cast(t.Any, 2.0)), ev.Usage(3, 2)),
    (ev.Reasoning(Text("a")), ev.Reasoning("a")),
    (ev.SourceUrl("s", t.cast(t.Any, Text("u"))), ev.SourceUrl("s", "u")),
    (ev.Data("d", 1, t.cast(t.Any, ID)), ev.Data("d", 1, str(ID))),
]
WRONG: list[ev.Event] = [
    ev.Reasoning(t.cast(t.Any, 5)),
    ev.ToolError("c", t.cast(t.Any, ValueError("x"))),
    ev.SourceUrl("s", t.cast(t.Any, b"u")),
    ev.File(t.cast(t.Any, object), "image/png"),
    ev.StepStarted(t.cast(t.Any, ["a"])),
    ev.ToolCall(t.cast(t.Any, None), "f", {}),
    ev.Usage(t.cast(t.Any, "3")),
    ev.Usage(t.cast(t.Any, 1.5)),
    ev.Usage(10**1000),
    ev.ToolCallArguments("c", t.cast(t.Any, {"a": 1})),
]


@pytest.mark.parametrize(("event", "same"), FIELDS, ids=repr)
def test_other_fields_are_converted_as_well(event: ev.Event, same: ev.Event) -> None:
    (converted,) = Chunks().events(event)

    assert repr(converted) == repr(same)


@pytest.mark.parametrize("event", WRONG, ids=lambda event: repr(event)[:60])
def test_a_field_of_another_type_is_refused_by_its_name(event: ev.Event) -> None:
    with pytest.raises(ValueInvalid, match=f"{type(event).__name__}\\."):
        Chunks().events(event)
