"""Every story in every protocol, byte for byte.

The transcripts are in ``tests/golden/<protocol>/<story>.sse``. ``UPDATE_GOLDEN=1`` writes them anew;
then read the difference.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from flask_aistream.core import events as ev
from flask_aistream.core.fold import Fold
from flask_aistream.protocols.base import Dialect
from flask_aistream.protocols.table import DIALECTS
from flask_aistream.protocols.wire import dumps
from flask_aistream.sse.decode import Decoder
from tests.protocols.stories import ODD
from tests.protocols.stories import STORIES
from tests.protocols.stories import SUBJECT

GOLDEN = Path(__file__).parents[1] / "golden"

ALL = [
    pytest.param(dialect, story, id=f"{name}-{story}")
    for name, dialect in DIALECTS.items()
    for story in STORIES
]
STREAMS = [
    pytest.param(*param.values, id=param.id) for param in ALL if param.values[0].name != "text"
]
WHOLE = [
    pytest.param(dialect, story, id=f"{name}-{story}")
    for name, dialect in DIALECTS.items()
    for story in STORIES
    if dialect.whole
]

# What ends a stream in each protocol.
TERMINAL = {
    "native": '"action":"terminate"',
    "ai-sdk": ('"type":"finish"', '"type":"abort"', '"type":"error"'),
    "openai-chat": ('"finish_reason":"', '{"error":'),
    "openai-responses": ("response.completed", "response.incomplete", "response.failed"),
    "ag-ui": ('"type":"RUN_FINISHED"', '"type":"RUN_ERROR"'),
    "html": "done",
}


def transcript(dialect: Dialect, story: str) -> bytes:
    return dialect.encoder(SUBJECT).encode(0, STORIES[story])


def decoded(data: bytes) -> list:
    return Decoder().feed(data)


@pytest.mark.parametrize(("dialect", "story"), ALL)
def test_a_story_is_worded_exactly_like_this(dialect: Dialect, story: str) -> None:
    compare(GOLDEN / dialect.name / f"{story}.sse", transcript(dialect, story))


@pytest.mark.parametrize(("dialect", "story"), WHOLE)
def test_a_whole_answer_is_worded_exactly_like_this(dialect: Dialect, story: str) -> None:
    assert dialect.whole
    answer = json.dumps(dialect.whole(Fold(STORIES[story]), SUBJECT), indent=1) + "\n"
    compare(GOLDEN / dialect.name / f"{story}.json", answer.encode())


def compare(path: Path, data: bytes) -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    assert data == path.read_bytes()


@pytest.mark.parametrize(("dialect", "story"), ALL)
def test_page_by_page_in_any_cut_is_the_same_as_at_once(dialect: Dialect, story: str) -> None:
    events = STORIES[story]
    at_once = transcript(dialect, story)
    for size in range(1, len(events)):
        encoder = dialect.encoder(SUBJECT)
        pages = range(0, len(events), size)
        assert b"".join(encoder.encode(n, events[n : n + size]) for n in pages) == at_once


@pytest.mark.parametrize(("dialect", "story"), STREAMS)
def test_a_story_ends_with_exactly_one_terminal_frame(dialect: Dialect, story: str) -> None:
    frames = decoded(transcript(dialect, story))
    words = TERMINAL[dialect.name]
    said = [
        f"{frame.event}" if dialect.name == "html" else f"{frame.event} {frame.data}"
        for frame in frames
    ]
    if dialect.name == "openai-responses":
        said = [f"{frame.event}" for frame in frames]
    words = (words,) if isinstance(words, str) else words
    ends = [place for place, text in enumerate(said) if any(word in text for word in words)]
    after = [frame.data for frame in frames[ends[0] + 1 :]]
    assert len(ends) == 1
    assert after in ([], ["[DONE]"])


@pytest.mark.parametrize(("dialect", "story"), STREAMS)
def test_every_frame_is_ascii_json_on_one_line_or_html(dialect: Dialect, story: str) -> None:
    data = transcript(dialect, story)
    assert b"\r" not in data
    assert data.endswith(b"\n\n")
    for frame in decoded(data):
        assert frame.data is not None
        if dialect.name != "html" and frame.data != "[DONE]":
            assert frame.data.isascii()
            json.loads(frame.data, parse_constant=pytest.fail)


@pytest.mark.parametrize("name", ["ai-sdk", "ag-ui"])
@pytest.mark.parametrize("story", STORIES)
def test_optional_fields_are_left_out_and_never_null(name: str, story: str) -> None:
    values = {"data", "output", "input", "value"}
    for frame in decoded(transcript(DIALECTS[name], story)):
        if frame.data != "[DONE]":
            chunk = json.loads(frame.data)
            assert not [key for key, value in chunk.items() if value is None and key not in values]


@pytest.mark.parametrize("version", [5, 6])
@pytest.mark.parametrize("story", STORIES)
def test_only_chunks_of_ai_5_are_sent_unless_a_newer_client_is_known(
    version: int, story: str
) -> None:
    dialect = DIALECTS["ai-sdk"]
    subject = replace(SUBJECT, options=dialect.options({"version": str(version)}))
    assert dialect.encoder(subject).encode(0, STORIES[story]) == transcript(dialect, story)


def test_ai_7_is_told_that_an_answer_was_interrupted() -> None:
    dialect = DIALECTS["ai-sdk"]
    subject = replace(SUBJECT, options=dialect.options({"version": "7"}))
    data = dialect.encoder(subject).encode(0, STORIES["interrupted"])
    assert b'{"type":"finish","finishReason":"interrupted"}' in data
    assert b'"error"' not in data


def test_the_prototype_of_an_object_is_out_of_reach() -> None:
    poison = {"__proto__": {"x": 1}, "a": [{"constructor": {"prototype": 1}, "b": 1}]}
    events = (*STORIES["empty"][:1], ev.ToolCall("c", "t", poison), ev.Finished())
    data = DIALECTS["ai-sdk"].encoder(SUBJECT).encode(0, events)
    assert b'"input":{"a":[{"b":1}]}' in data


@pytest.mark.parametrize(
    "dialect", [d for d in DIALECTS.values() if d.name != "text"], ids=lambda d: d.name
)
def test_values_that_json_cannot_write_break_no_stream(dialect: Dialect) -> None:
    values = {
        "nan": float("nan"),
        "infinity": [float("inf")],
        "set": {1},
        ("a", "b"): 2,
        "path": Path("x"),
    }
    events = (
        *STORIES["empty"][:1],
        ev.Data("odd", values),
        ev.ToolCall("c", "t", values),
        ev.Finished(),
    )
    data = dialect.encoder(SUBJECT).encode(0, events)
    assert b"NaN" not in data
    assert b"Infinity" not in data


def test_with_include_usage_every_chunk_says_so_and_the_last_one_has_it() -> None:
    subject = replace(SUBJECT, options={"include_usage": True})
    data = DIALECTS["openai-chat"].encoder(subject).encode(0, STORIES["usage-length"])
    *chunks, done = [frame.data for frame in decoded(data)]
    *chunks, last = [json.loads(chunk) for chunk in chunks]
    assert [chunk["usage"] for chunk in chunks] == [None] * len(chunks)
    assert last["choices"] == []
    assert last["usage"] == {
        "prompt_tokens": 12,
        "completion_tokens": 40,
        "total_tokens": 52,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 8},
    }
    assert done == "[DONE]"


@pytest.mark.parametrize("story", STORIES)
def test_a_response_resumes_after_any_of_its_sequence_numbers(story: str) -> None:
    dialect = DIALECTS["openai-responses"]
    frames = decoded(transcript(dialect, story))
    numbers = [json.loads(frame.data)["sequence_number"] for frame in frames]
    assert numbers == list(range(len(frames)))
    for number in numbers:
        subject = replace(SUBJECT, options=dialect.options({"starting_after": str(number)}))
        rest = decoded(dialect.encoder(subject).encode(0, STORIES[story]))
        assert rest == frames[number + 1 :]


@pytest.mark.parametrize("story", STORIES)
def test_the_last_event_of_a_response_repeats_what_a_retrieval_gives(story: str) -> None:
    dialect = DIALECTS["openai-responses"]
    last = json.loads(decoded(transcript(dialect, story))[-1].data)
    assert dialect.whole
    answer = json.loads(dumps(dialect.whole(Fold(STORIES[story]), SUBJECT)))
    assert answer == last["response"]


def test_a_response_under_way_holds_what_was_said_so_far() -> None:
    whole = DIALECTS["openai-responses"].whole
    assert whole
    so_far = whole(Fold(STORIES["tools"][:4]), SUBJECT)
    assert so_far["status"] == "in_progress"
    assert so_far["output"][0]["content"][0]["text"] == "Looking."
    assert so_far["output"][1]["status"] == "in_progress"


def test_ids_of_ag_ui_messages_differ_between_runs() -> None:
    def ids(run: str) -> set[str]:
        encoder = DIALECTS["ag-ui"].encoder(replace(SUBJECT, run=run))
        frames = (json.loads(frame.data) for frame in decoded(encoder.encode(0, STORIES["tools"])))
        return {frame["messageId"] for frame in frames if "messageId" in frame}

    assert not ids("r1") & ids("r2")


def test_text_comes_out_of_html_as_it_went_in() -> None:
    from html.parser import HTMLParser

    class Text(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.text = ""

        def handle_data(self, data: str) -> None:
            self.text += data

    parser = Text()
    frames = decoded(transcript(DIALECTS["html"], "odd"))
    parser.feed("".join(frame.data for frame in frames if frame.event is None))
    parser.close()
    halves = ("\ud83d", "\ude00")
    assert parser.text == "".join("\ufffd" if text in halves else text for text in ODD)


def test_an_application_may_render_events_of_html_itself() -> None:
    def render(event: ev.Event) -> str | None:
        return (
            f"<b>{event}</b>\n"
            if event == "lo"
            else ""
            if isinstance(event, ev.RunStarted)
            else None
        )

    subject = replace(SUBJECT, options={"render": render})
    frames = decoded(DIALECTS["html"].encoder(subject).encode(0, STORIES["text"]))
    assert [frame.data for frame in frames] == ["", "Hel", "<b>lo</b>\n", " world", "stop"]


@pytest.mark.parametrize(
    "dialect", [d for d in DIALECTS.values() if d.name != "text"], ids=lambda d: d.name
)
def test_trimmed_history_is_told(dialect: Dialect) -> None:
    encoder = dialect.encoder(SUBJECT)
    data = encoder.gap(7) + encoder.encode(7, ("rest", ev.Finished()))
    assert b"gap" in data


@pytest.mark.parametrize("name", DIALECTS)
def test_a_dialect_can_be_looked_up_and_routed(name: str) -> None:
    dialect = DIALECTS[name]
    assert dialect.name == name
    assert dialect.path.startswith("/")
    assert dialect.heartbeat in (b": ping\n", None)
    assert len({other.path for other in DIALECTS.values()}) == len(DIALECTS)
