"""Every story in every protocol, compared byte by byte with a golden file.

The files are ``tests/golden/<protocol>/<story>.sse`` (streams) and ``.json`` (response bodies). Run with
``UPDATE_GOLDEN=1`` to rewrite them, then review the diff.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flask_aistream.core import events as ev
from flask_aistream.core.fold import Fold
from flask_aistream.protocols.base import WireProtocol
from flask_aistream.protocols.table import PROTOCOLS
from flask_aistream.protocols.wire import dumps
from flask_aistream.sse.decode import Decoder
from flask_aistream.sse.frame import Frame
from tests.protocols.stories import CONTEXT
from tests.protocols.stories import ODD
from tests.protocols.stories import STORIES

GOLDEN = Path(__file__).parents[1] / "golden"

ALL = [
    pytest.param(protocol, story, id=f"{name}-{story}")
    for name, protocol in PROTOCOLS.items()
    for story in STORIES
]
BODIES = [
    pytest.param(protocol, story, id=f"{name}-{story}")
    for name, protocol in PROTOCOLS.items()
    for story in STORIES
    if protocol.response_body
]

# Protocol → field of a frame, and the texts in it that mark the terminal frame. Plain text has no frames.
TERMINAL = {
    "native": ("data", ['"action":"terminate"']),
    "ai-sdk": ("data", ['"type":"finish"', '"type":"abort"', '"type":"error"']),
    "openai-chat": ("data", ['"finish_reason":"', '{"error":']),
    "openai-responses": (
        "event",
        ["response.completed", "response.incomplete", "response.failed"],
    ),
    "ag-ui": ("data", ['"type":"RUN_FINISHED"', '"type":"RUN_ERROR"']),
    "html": ("event", ["done"]),
}


def transcript(protocol: WireProtocol, story: str) -> bytes:
    return protocol.encoder(CONTEXT).encode(0, STORIES[story])


def decoded(data: bytes) -> list[Frame]:
    return Decoder().feed(data)


def payloads(data: bytes) -> list[str]:
    return [frame.data or "" for frame in decoded(data)]


@pytest.mark.parametrize(("protocol", "story"), ALL)
def test_a_stream_matches_its_golden_file(protocol: WireProtocol, story: str) -> None:
    compare(GOLDEN / protocol.name / f"{story}.sse", transcript(protocol, story))


@pytest.mark.parametrize(("protocol", "story"), BODIES)
def test_a_response_body_matches_its_golden_file(protocol: WireProtocol, story: str) -> None:
    assert protocol.response_body
    answer = json.dumps(protocol.response_body(Fold(STORIES[story]), CONTEXT), indent=1) + "\n"
    compare(GOLDEN / protocol.name / f"{story}.json", answer.encode())


def compare(path: Path, data: bytes) -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    assert data == path.read_bytes()


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_pages_of_any_size_are_encoded_as_the_whole_log(protocol: WireProtocol) -> None:
    for story, events in STORIES.items():
        expected = transcript(protocol, story)
        for size in range(1, len(events)):
            encoder = protocol.encoder(CONTEXT)
            pages = range(0, len(events), size)
            encoded = b"".join(encoder.encode(n, events[n : n + size]) for n in pages)
            assert encoded == expected, (story, size)


@pytest.mark.parametrize("name", TERMINAL)
def test_every_stream_ends_with_exactly_one_terminal_frame(name: str) -> None:
    field, markers = TERMINAL[name]
    for story in STORIES:
        frames = decoded(transcript(PROTOCOLS[name], story))
        texts = [str(getattr(frame, field)) for frame in frames]
        ends = [n for n, text in enumerate(texts) if any(marker in text for marker in markers)]
        assert len(ends) == 1, story
        assert [frame.data for frame in frames[ends[0] + 1 :]] in ([], ["[DONE]"]), story


@pytest.mark.parametrize("name", TERMINAL)
def test_every_frame_is_ascii_json_on_one_line_or_html(name: str) -> None:
    for story in STORIES:
        data = transcript(PROTOCOLS[name], story)
        assert b"\r" not in data
        assert data.endswith(b"\n\n")
        for text in payloads(data):
            if name != "html" and text != "[DONE]":
                assert text.isascii(), story
                json.loads(text, parse_constant=pytest.fail)


@pytest.mark.parametrize("name", ["ai-sdk", "ag-ui"])
def test_optional_fields_are_left_out_and_never_null(name: str) -> None:
    nullable = {"data", "output", "input", "value"}
    for story in STORIES:
        for data in payloads(transcript(PROTOCOLS[name], story)):
            chunk = {} if data == "[DONE]" else json.loads(data)
            assert {key for key, value in chunk.items() if value is None} <= nullable, story


def test_only_chunks_of_ai_5_are_sent_unless_a_newer_client_is_known() -> None:
    protocol = PROTOCOLS["ai-sdk"]
    newer = replace(CONTEXT, options=protocol.options({"version": "6"}))
    for story, events in STORIES.items():
        data = protocol.encoder(newer).encode(0, events)
        assert (data == transcript(protocol, story)) == (story != "approval"), story
    data = protocol.encoder(newer).encode(0, STORIES["approval"])
    assert b'{"type":"tool-approval-request","approvalId":"c1","toolCallId":"c1"}' in data
    assert b"data-tool-approval" not in data


def test_ai_7_receives_an_interruption_as_a_finish_reason() -> None:
    protocol = PROTOCOLS["ai-sdk"]
    context = replace(CONTEXT, options=protocol.options({"version": "7"}))
    data = protocol.encoder(context).encode(0, STORIES["interrupted"])
    assert b'{"type":"finish","finishReason":"interrupted"}' in data
    assert b'"error"' not in data


def test_keys_that_reach_an_object_prototype_are_removed() -> None:
    poison = {"__proto__": {"x": 1}, "a": [{"constructor": {"prototype": 1}, "b": 1}]}
    events = (*STORIES["empty"][:1], ev.ToolCall("c", "t", poison), ev.Finished())
    data = PROTOCOLS["ai-sdk"].encoder(CONTEXT).encode(0, events)
    assert b'"input":{"a":[{"b":1}]}' in data


@pytest.mark.parametrize(
    "protocol", [d for d in PROTOCOLS.values() if d.name != "text"], ids=lambda d: d.name
)
def test_values_without_a_json_form_are_replaced(protocol: WireProtocol) -> None:
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
    data = protocol.encoder(CONTEXT).encode(0, events)
    assert b"NaN" not in data
    assert b"Infinity" not in data


def test_with_include_usage_the_last_chunk_has_usage_and_the_others_null() -> None:
    context = replace(CONTEXT, options={"include_usage": True})
    data = PROTOCOLS["openai-chat"].encoder(context).encode(0, STORIES["usage-length"])
    *texts, done = payloads(data)
    *chunks, last = [json.loads(text) for text in texts]
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


def test_a_response_resumes_after_any_of_its_sequence_numbers() -> None:
    protocol = PROTOCOLS["openai-responses"]
    for story, records in STORIES.items():
        events = payloads(transcript(protocol, story))
        numbers = [json.loads(event)["sequence_number"] for event in events]
        assert numbers == list(range(len(events)))
        for number in numbers:
            context = replace(CONTEXT, options=protocol.options({"starting_after": str(number)}))
            rest = payloads(protocol.encoder(context).encode(0, records))
            assert rest == events[number + 1 :], (story, number)


def test_the_last_event_of_a_response_contains_its_response_body() -> None:
    protocol = PROTOCOLS["openai-responses"]
    assert protocol.response_body
    for story, records in STORIES.items():
        last = json.loads(payloads(transcript(protocol, story))[-1])
        body = json.loads(dumps(protocol.response_body(Fold(records), CONTEXT)))
        assert body == last["response"], story


@pytest.mark.parametrize("story", ["failed", "interrupted"])
def test_a_failed_response_sends_an_error_event_before_response_failed(story: str) -> None:
    """LangChain, pydantic-ai and OpenAI's SDKs raise only on the former."""
    frames = decoded(transcript(PROTOCOLS["openai-responses"], story))
    assert [frame.event for frame in frames[-2:]] == ["error", "response.failed"]
    event = json.loads(frames[-2].data or "")
    failed = json.loads(frames[-1].data or "")["response"]["error"]
    fields = {"code": failed["aistream_code"], "message": failed["message"], "param": None}
    assert event == {
        **fields,
        "type": "error",
        "error": {"type": "invalid_request_error", **fields},
        "sequence_number": len(frames) - 2,
    }


@pytest.mark.parametrize("story", STORIES)
def test_usage_is_an_object_also_if_the_provider_reported_none(story: str) -> None:
    fold, options = Fold(STORIES[story]), {"include_usage": True}
    for name in ("openai-chat", "openai-responses"):
        protocol = PROTOCOLS[name]
        assert protocol.response_body
        usage = protocol.response_body(fold, CONTEXT)["usage"]
        assert usage["total_tokens"] == (fold.usage.total_tokens if fold.usage else 0)
        assert usage.get("aistream_unknown", False) is (fold.usage is None)
    encoder = PROTOCOLS["openai-chat"].encoder(replace(CONTEXT, options=options))
    chunks = payloads(encoder.encode(0, STORIES[story]))
    if chunks[-1] == "[DONE]":
        assert json.loads(chunks[-2])["usage"]["total_tokens"] >= 0


ECHO: dict[str, Any] = {
    "instructions": "Be brief.",
    "metadata": {"k": "v"},
    "tools": [{"type": "function", "name": "clock", "parameters": {"type": "object"}}],
    "tool_choice": {"type": "function", "name": "clock"},
    "parallel_tool_calls": False,
    "store": False,
    "temperature": 0.5,
    "max_output_tokens": 100,
    "text": {"verbosity": "low"},
    "reasoning": {"effort": "low"},
    "previous_response_id": "resp_0",
}


def test_a_response_repeats_the_fields_of_its_request() -> None:
    protocol = PROTOCOLS["openai-responses"]
    parsed = protocol.read({"model": "chat", "input": "Hi", "seed": 1, **ECHO})
    assert parsed.echo == {**ECHO, "messages": 2}
    records = (ev.RunStarted("r1", "chat", None, parsed.echo), "Hi", ev.Finished())
    expected = {
        **ECHO,
        "tools": [{**ECHO["tools"][0], "description": None, "strict": None}],
        "text": {"format": {"type": "text"}, "verbosity": "low"},
        "reasoning": {"effort": "low", "summary": None},
        "top_p": 1.0,
        "truncation": "disabled",
        "background": False,
    }
    assert protocol.response_body
    bodies = [protocol.response_body(Fold(records), CONTEXT)]
    events = [json.loads(data) for data in payloads(protocol.encoder(CONTEXT).encode(0, records))]
    bodies += [event["response"] for event in events if "response" in event]
    assert len(bodies) == 4
    for body in bodies:
        assert {name: body[name] for name in expected} == expected


def test_the_response_body_of_a_live_run_has_the_output_so_far() -> None:
    whole = PROTOCOLS["openai-responses"].response_body
    assert whole
    so_far = whole(Fold(STORIES["tools"][:4]), CONTEXT)
    assert so_far["status"] == "in_progress"
    assert so_far["output"][0]["content"][0]["text"] == "Looking."
    assert so_far["output"][1]["status"] == "in_progress"


def test_ids_of_ag_ui_messages_differ_between_runs() -> None:
    def ids(run: str) -> set[str]:
        encoder = PROTOCOLS["ag-ui"].encoder(replace(CONTEXT, run=run))
        frames = map(json.loads, payloads(encoder.encode(0, STORIES["tools"])))
        return {frame["messageId"] for frame in frames if "messageId" in frame}

    assert not ids("r1") & ids("r2")


def test_text_survives_html_escaping() -> None:
    from html.parser import HTMLParser

    class Text(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.text = ""

        def handle_data(self, data: str) -> None:
            self.text += data

    parser = Text()
    frames = decoded(transcript(PROTOCOLS["html"], "odd"))
    parser.feed("".join(frame.data or "" for frame in frames if frame.event is None))
    parser.close()
    halves = ("\ud83d", "\ude00")
    assert parser.text == "".join("\ufffd" if text in halves else text for text in ODD)


def test_an_application_can_render_html_events_itself() -> None:
    def render(event: ev.Event) -> str | None:
        return (
            f"<b>{event}</b>\n"
            if event == "lo"
            else ""
            if isinstance(event, ev.RunStarted)
            else None
        )

    context = replace(CONTEXT, options={"render": render})
    frames = decoded(PROTOCOLS["html"].encoder(context).encode(0, STORIES["text"]))
    assert [frame.data for frame in frames] == ["", "Hel", "<b>lo</b>\n", " world", "stop"]


@pytest.mark.parametrize(
    "protocol", [d for d in PROTOCOLS.values() if d.name != "text"], ids=lambda d: d.name
)
def test_trimmed_records_are_reported_as_a_gap(protocol: WireProtocol) -> None:
    encoder = protocol.encoder(CONTEXT)
    data = encoder.gap(7) + encoder.encode(7, ("rest", ev.Finished()))
    assert b"gap" in data


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocols_are_found_by_name_and_have_distinct_paths(name: str) -> None:
    protocol = PROTOCOLS[name]
    assert protocol.name == name
    assert protocol.path.startswith("/")
    assert protocol.heartbeat in (b": ping\n", None)
    assert len({other.path for other in PROTOCOLS.values()}) == len(PROTOCOLS)
