"""One answer of each wire, cut and written in every way, with fields of every type."""

from __future__ import annotations

import copy
import json
import typing as t
from collections.abc import Iterator

import pytest

from flask_aistream.core import events as ev
from flask_aistream.errors import ProviderError
from flask_aistream.providers.accounting import Accounting
from flask_aistream.providers.body import BodyReader
from flask_aistream.providers.values import normalized
from tests.providers.frozen import thaw
from tests.providers.test_cases import cases_of
from tests.providers.test_recorded import recordings
from tests.upstream.scripted import event_stream

CHOSEN = {
    "openai-chat": "vllm finish tool_calls empty delta",
    "openai-responses": "tool",
    "anthropic": "tool",
    "gemini": "plain",
    "ollama": "plain",
}
ANSWERS: dict[str, t.Any] = {
    case["wire"]: case
    for case in (param.values[0] for param in cases_of("deviations.jsonl"))
    if CHOSEN.get(case["wire"]) == case["case"]
}


def parts_of(case: t.Any, chunks: list[t.Any] | None = None, *, done: bool = False) -> list[bytes]:
    chunks = case["chunks"] if chunks is None else chunks
    if case["wire"] == "ollama":
        return [f"{json.dumps(chunk)}\n".encode() for chunk in chunks]
    return event_stream(chunks, done)


def read(parts: t.Iterable[bytes], content_type: str = "text/event-stream") -> list[t.Any]:
    """The events of a body; last, the code of its failure."""
    body = BodyReader(200, {"Content-Type": content_type}, Accounting())
    events: list[t.Any] = []
    try:
        for part in parts:
            events += body.feed(part)
        events += body.end()
    except ProviderError as error:
        events.append(error)
    return events


def codes(events: list[t.Any]) -> list[str]:
    return [event.code for event in events if isinstance(event, ProviderError)]


@pytest.mark.parametrize("wire", ANSWERS)
def test_a_body_says_the_same_wherever_its_bytes_are_cut(wire: str) -> None:
    whole = b"".join(parts_of(ANSWERS[wire], done=True))
    expected = read([whole])

    assert not codes(expected)
    assert read(whole[at : at + 1] for at in range(len(whole))) == expected
    for at in range(0, len(whole), 3):
        assert read([whole[:at], whole[at:]]) == expected


@pytest.mark.parametrize("wire", ANSWERS)
def test_a_body_that_ends_anywhere_is_incomplete_or_says_the_same(wire: str) -> None:
    whole = b"".join(parts_of(ANSWERS[wire]))
    expected = [event for event in read([whole]) if isinstance(event, ev.Finished)]

    for at in range(len(whole)):
        events = read([whole[:at]])
        if code := codes(events):
            assert code in (["upstream_incomplete"], ["upstream_invalid"])
        else:
            assert [event for event in events if isinstance(event, ev.Finished)] == expected


@pytest.mark.parametrize("wire", ANSWERS)
def test_an_answer_is_complete_from_its_end_marker_on(wire: str) -> None:
    case = ANSWERS[wire]
    complete = [
        not codes(read(parts_of(case, case["chunks"][:n]))) for n in range(len(case["chunks"]) + 1)
    ]

    assert complete == sorted(complete)
    assert complete[-1]
    assert not complete[0]
    assert complete.count(True) <= 3


FORMS: dict[str, t.Callable[[bytes], bytes]] = {
    "CRLF": lambda it: it.replace(b"\n", b"\r\n"),
    "CR": lambda it: it.replace(b"\n", b"\r"),
    "BOM": lambda it: b"\xef\xbb\xbf" + it,
    "no space": lambda it: it.replace(b"data: ", b"data:"),
    "comments": lambda it: it.replace(b"data: ", b": OPENROUTER PROCESSING\n\ndata: "),
    "fields": lambda it: it.replace(b"data: ", b"id: 1\nretry: 5\nnews: x\nevent: message\ndata: "),
    "blank lines": lambda it: b"\n\n" + it.replace(b"\n\n", b"\n\n\n\n"),
    "no blank lines": lambda it: it.replace(b"\n\n", b"\n"),
    "no last line end": lambda it: it.rstrip(b"\n"),
    "several lines": lambda it: it.replace(b', "', b',\ndata:  "'),
}
LINES: dict[str, t.Callable[[bytes], bytes]] = {
    "CRLF": FORMS["CRLF"],
    "CR": FORMS["CR"],
    "BOM": FORMS["BOM"],
    "blank lines": lambda it: it.replace(b"\n", b"\n\n"),
    "no last line end": FORMS["no last line end"],
    "no line ends": lambda it: it.replace(b"\n", b""),
    "a list": lambda it: b"[" + b",".join(it.splitlines()) + b"]",
    "events": lambda it: b"".join(b"data: %b\n\n" % line for line in it.splitlines()),
}
TYPES = ["text/event-stream", "text/plain; charset=utf-8", "application/json", ""]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("wire", [wire for wire in ANSWERS if wire != "ollama"])
def test_an_event_stream_may_be_written_in_every_form(wire: str, form: str) -> None:
    plain = b"".join(parts_of(ANSWERS[wire], done=True))
    written = FORMS[form](plain)

    for content_type in TYPES:
        assert read([written], content_type) == read([plain])
    assert read(written[at : at + 1] for at in range(len(written))) == read([plain])


@pytest.mark.parametrize("form", LINES)
def test_lines_of_json_may_be_written_in_every_form(form: str) -> None:
    plain = b"".join(parts_of(ANSWERS["ollama"]))
    written = LINES[form](plain)

    for content_type in TYPES:
        assert read([written], content_type) == read([plain])
    assert read(written[at : at + 1] for at in range(len(written))) == read([plain])


def test_objects_of_no_known_wire_are_not_read_for_ever() -> None:
    events = event_stream(({"news": number} for number in range(20_000)), done=False)
    (failure,) = read([b"".join(events), b"data: x"])

    assert failure.code == "upstream_invalid"


# Fields of other types

OTHERS: list[t.Any] = [None, 5, "x", [], {}, True, 1.5, [None], {"a": 1}]


def places(value: t.Any, path: tuple[t.Any, ...] = ()) -> Iterator[tuple[t.Any, ...]]:
    yield path
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for name, it in items:
        yield from places(it, (*path, name))


def replaced(value: t.Any, path: tuple[t.Any, ...], other: t.Any) -> t.Any:
    if not path:
        return other
    made = copy.copy(value)
    made[path[0]] = replaced(value[path[0]], path[1:], other)
    return made


def check(events: list[t.Any]) -> None:
    for event in events:
        if not isinstance(event, str | ProviderError):
            assert repr(normalized(event)) == repr(event)


@pytest.mark.parametrize("wire", ANSWERS)
def test_a_field_of_another_type_breaks_nothing(wire: str) -> None:
    case = ANSWERS[wire]
    chunks = case["chunks"]
    for number, chunk in enumerate(chunks):
        for path in places(chunk):
            for other in OTHERS:
                odd = replaced(chunk, path, other)
                check(read(parts_of(case, [*chunks[:number], odd, *chunks[number + 1 :]])))


OBJECTS = [
    "langchain-1.7.3 stream: tools",
    "pydantic-ai-2.68.0 run_stream_events: tools",
    "ollama-0.6.3 chat: tools",
]


@pytest.mark.parametrize("name", OBJECTS)
def test_a_field_of_another_type_in_an_sdks_object_breaks_nothing(name: str) -> None:
    from flask_aistream.providers.table import Chunks

    (told,) = (it.values[0] for it in recordings() if it.id == name)
    for number, chunk in enumerate(told["chunks"][:8]):
        for path in places(chunk):
            if not path or path[-1] in ("$", "items"):
                continue
            for other in (it for it in OTHERS if not isinstance(it, dict)):
                odd = thaw(replaced(chunk, path, other))
                chunks = Chunks()
                events = [
                    event
                    for it in told["chunks"][max(0, number - 2) : number]
                    for event in chunks.events(thaw(it))
                ]
                check([*events, *chunks.events(odd), *chunks.close()])
