"""JSON schemas made of the package's own classes and encoders."""

from __future__ import annotations

import dataclasses
import json
import types
import typing as t
from collections.abc import Callable
from collections.abc import Mapping

from flask_aistream.core import events as ev
from flask_aistream.core.fold import PART_TYPES
from flask_aistream.core.fold import STATUS
from flask_aistream.core.fold import Fold
from flask_aistream.protocols.base import EncoderContext
from flask_aistream.protocols.base import WireProtocol
from flask_aistream.protocols.openai_responses_echo import ECHOED

Schema = dict[str, t.Any]

ANYTHING: Schema = {}
TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}

NAMES: Mapping[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "array",
    dict: "object",
    type(None): "null",
}


def record(**fields: Schema) -> Schema:
    """An object with these fields, and perhaps others."""
    return {"type": "object", "properties": fields, "required": list(fields)}


def listing(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def choice(values: t.Iterable[str]) -> Schema:
    return {"type": "string", "enum": list(values)}


def reference(name: str) -> Schema:
    """A schema among the components of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


EVENT: Schema = {
    "type": "object",
    "description": "One event of the stream.",
    "properties": {"data": TEXT, "event": TEXT, "id": TEXT, "retry": COUNT},
}


def of_class(kind: type, *, without: t.Container[str] = ()) -> Schema:
    """The schema of a dataclass as ``compact_fields`` writes it: a field whose default is ``None`` may be absent."""
    hints = t.get_type_hints(kind)
    fields = [field for field in dataclasses.fields(kind) if field.name not in without]
    return {
        "type": "object",
        "properties": {field.name: of_hint(hints[field.name]) for field in fields},
        "required": [field.name for field in fields if field.default is not None],
        "additionalProperties": False,
    }


def of_hint(hint: t.Any) -> Schema:
    """The schema of a type annotation of an event's field."""
    if t.get_origin(hint) is t.Literal:
        return choice(t.get_args(hint))
    if t.get_origin(hint) in (t.Union, types.UnionType):
        (hint,) = set(t.get_args(hint)) - {type(None)}
    return {"type": NAMES[hint]} if hint in NAMES else ANYTHING


def of_examples(examples: t.Sequence[Mapping[str, t.Any]]) -> Schema:
    """What objects have in common. A field that is ``null`` in every example may be anything."""
    names = dict.fromkeys(name for example in examples for name in example)
    values = {name: [it[name] for it in examples if name in it] for name in names}
    return {
        "type": "object",
        "properties": {name: of_values(found) for name, found in values.items()},
        "required": [name for name, found in values.items() if len(found) == len(examples)],
    }


def of_values(values: t.Sequence[t.Any]) -> Schema:
    kinds = {NAMES[type(value)] for value in values}
    if kinds == {"null"}:
        return ANYTHING
    if "number" in kinds:  # Every integer is one.
        kinds.discard("integer")
    return {"type": sorted(kinds)} if len(kinds) > 1 else {"type": kinds.pop()}


def message() -> Schema:
    """A run's events, folded: see ``Fold.to_json``."""
    parts = choice(["text", "reasoning", "tool", "data", *PART_TYPES.values()])
    schema = record(
        status=choice(["running", *STATUS.values()]), text=TEXT, parts=listing(record(type=parts))
    )
    schema["properties"] |= {
        "reasoning": TEXT,
        "usage": of_class(ev.Usage),
        "end": {"anyOf": [of_class(kind, without=("status",)) for kind in ev.TERMINAL]},
    }
    return schema


def error_of(protocol: WireProtocol) -> Schema:
    """The body of an error in a protocol; a string, unless it is JSON."""
    if protocol.error_type != "application/json":
        return TEXT
    body = json.loads(protocol.error("code", "A sentence.", 400, "reference"))
    return record(**{name: of_examples([value]) for name, value in body.items()})


def answer_of(body: Callable[[Fold, EncoderContext], Mapping[str, t.Any]]) -> Schema:
    """The body of a response without streaming, from the runs that it can tell apart."""
    context = EncoderContext("run", "provider")
    return of_examples(
        [body(Fold([*begun, "A word", *end]), context) for begun in STARTS for end in ENDS]
    )


ENDS: list[list[ev.Event]] = [
    [],
    [ev.Usage(input_tokens=1, output_tokens=1), ev.Finished()],
    [ev.Finished("length")],
    [ev.Failed("code", "A sentence.")],
    [ev.ToolCall("call", "tool", {}), ev.Stopped()],
]

STARTS: list[list[ev.Event]] = [
    [ev.RunStarted("run", "provider", echo=echo)]
    for echo in (
        {},
        {name: kinds[0]() for name, (kinds, _) in ECHOED.items()},
        {name: kinds[-1]() for name, (kinds, _) in ECHOED.items()},
    )
]
"""A response repeats fields of its request, each of them of any of its types."""
