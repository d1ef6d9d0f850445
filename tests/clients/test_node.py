"""Other clients in Node: openai, the AI SDK's OpenAI-compatible model, AG-UI, EventSources."""

from __future__ import annotations

import typing as t

from tests.clients.conftest import Node
from tests.clients.stories import joined
from tests.clients.stories import text_of
from tests.protocols.stories import STORIES

BROKEN = {
    "failed": "The model did not answer.",
    "stopped": "The run was stopped before it was complete.",
    "interrupted": "The server stopped before the answer was complete. Try again.",
}


def test_openai_reads_every_story_in_every_way(node: Node) -> None:
    got = node("openai", stories=list(STORIES))
    for story, ways in got["answers"].items():
        text = joined(text_of(story))
        if story in BROKEN:
            for way in ("created", "helped", "whole"):
                assert BROKEN[story] in ways[way]["error"], (story, way)
        else:
            for way in ("created", "whole", "responded", "responseHelped", "helped"):
                if (story, way) != ("usage-length", "helped"):
                    assert "value" in ways[way], (story, way, ways[way])
                    assert joined(ways[way]["value"]["text"]) == text, (story, way)
        if story in ("failed", "interrupted"):
            assert BROKEN[story] in ways["responded"]["error"]
        else:
            assert ways["responded"]["value"]["last"].startswith("response.")
    calls = got["answers"]["tools"]["helped"]["value"]["calls"]
    assert [call["name"] for call in calls] == ["weather", "clock"]
    assert got["answers"]["stopped"]["responded"]["value"]["last"] == "response.incomplete"
    assert got["models"][0] == "tell"
    assert got["unknown"]["status"] == 404


def test_openai_resumes_a_background_response(node: Node) -> None:
    got = node("openai", stories=[])["resumed"]
    assert got["numbers"] == list(range(len(got["numbers"])))
    assert got["helped"] == "".join(f"{number} " for number in range(40))


def test_the_ai_sdk_uses_a_provider_as_a_model(node: Node) -> None:
    got = node("compatible", stories=list(STORIES))
    answers = got["answers"]
    for story, read in answers.items():
        assert joined(read["text"]) == joined(text_of(story)), story
        if story in BROKEN:
            assert BROKEN[story] in read["errors"][0]
        else:
            assert read["errors"] == []
    assert answers["reasoning"]["reasoning"] == "Let me think.Or 5?"
    assert answers["tools"]["calls"] == [["weather", {"city": "Paris"}], ["clock", {"zone": None}]]
    assert answers["usage-length"]["finish"] == "length"
    assert answers["usage-length"]["usage"]["outputTokens"] == 40
    assert got["whole"] == text_of("text")


def assistant_text(messages: list[dict[str, t.Any]]) -> str:
    return "".join(m.get("content") or "" for m in messages if m["role"] == "assistant")


def outcome(read: dict[str, t.Any]) -> t.Any:
    return next(e["outcome"] for e in read["events"] if e["type"] == "RUN_FINISHED")


def test_an_ag_ui_agent_keeps_a_thread_of_every_story(node: Node) -> None:
    got = node("agui", stories=list(STORIES))
    assert got["warnings"] == []
    for story, read in got["answers"].items():
        assert read["error"] is None, story
        # Two turns: the story, and then another one.
        assert joined(assistant_text(read["messages"])) == joined(
            text_of(story) + text_of("text")
        ), story
        ids = [message["id"] for message in read["messages"]]
        assert len(ids) == len(set(ids)), story
        ends = [e for e in read["events"] if e["type"] in ("RUN_FINISHED", "RUN_ERROR")]
        assert len(ends) == 2
        failed = story in ("failed", "interrupted")
        assert ends[0].get("message") == (BROKEN[story] if failed else None), story
    tools = got["answers"]["tools"]["messages"]
    assert [message["role"] for message in tools][:5] == [
        "user",
        "assistant",
        "tool",
        "tool",
        "assistant",
    ]
    assert [call["function"]["name"] for call in tools[1]["toolCalls"]] == ["weather", "clock"]
    assert outcome(got["answers"]["stopped"]) == {"type": "cancelled"}
    pending = {"type": "success", "pendingToolCallIds": ["c1"]}
    assert outcome(got["answers"]["pending-tool"]) == pending
    for approved, read in got["approvals"].items():
        (interrupt,) = read["interrupts"]
        assert (interrupt["reason"], interrupt["toolCallId"]) == ("tool_call", interrupt["id"])
        roles = [message["role"] for message in read["messages"]]
        assert roles == [
            "user",
            "assistant",
            *(["tool"] if approved == "true" else []),
            "assistant",
        ]
        assert read["messages"][-1]["content"] == ("Paid." if approved == "true" else "Not paid.")
        assert read["pending"] == []


def test_event_sources_read_the_native_protocol(node: Node) -> None:
    got = node("events", stories=list(STORIES))
    for story, read in got["answers"].items():
        assert joined(read["listened"]["text"]) == joined(text_of(story)), story
        assert joined(read["posted"]["text"]) == joined(text_of(story)), story
        assert read["posted"]["empty"] == 0
    assert got["left"] == text_of("text")
