"""npm ``ai`` 5, 6 and 7, and ``useChat`` rendered by React."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from tests.clients.conftest import Node
from tests.clients.stories import joined
from tests.clients.stories import text_of
from tests.protocols.stories import PIXEL
from tests.protocols.stories import STORIES

GOLDEN = Path(__file__).parents[1] / "golden" / "ai-sdk"
VERSIONS = [5, pytest.param(6, marks=pytest.mark.nightly), 7]
RENDERED = [*(pytest.param(it, marks=pytest.mark.nightly) for it in (5, 6)), 7]
INTERRUPTED = "The server stopped before the answer was complete. Try again."
ERRORS = {"failed": "The model did not answer.", "interrupted": INTERRUPTED}


Played = dict[str, t.Any]


@pytest.fixture(scope="module", params=RENDERED)
def played(request: pytest.FixtureRequest, node: Node) -> Played:
    """The results of all scenarios of ``usechat.mjs`` with one version, in one Node process: starting Node is slow."""
    told = {"stories": list(STORIES), "broken": list(ERRORS)}
    return t.cast(Played, node("usechat", version=request.param, **told))


def parts_of(message: t.Any, kind: str) -> list[dict[str, t.Any]]:
    return [part for part in message["parts"] if part["type"].startswith(kind)]


def said(message: t.Any) -> str:
    return "".join(part["text"] for part in parts_of(message, "text"))


def test_every_chunk_is_valid_by_the_schema_of_every_major_version(node: Node) -> None:
    found = node("schema", folder=str(GOLDEN))
    for version in "567":
        assert found[version]["faults"] == []
        assert found[version]["chunks"] > 100


@pytest.mark.parametrize("version", VERSIONS)
def test_the_reader_makes_a_message_of_every_story(node: Node, version: int) -> None:
    answers = node("ai", version=version, stories=list(STORIES))
    for story, got in answers.items():
        assert got["errors"] == ([ERRORS[story]] if story in ERRORS else [])
        assert joined(said(got["message"])) == joined(text_of(story))

    def message(story: str) -> t.Any:
        return answers[story]["message"]

    thoughts = [part["text"] for part in parts_of(message("reasoning"), "reasoning")]
    assert thoughts == ["Let me think.", "Or 5?"]
    tools = parts_of(message("tools"), "tool-")
    assert [(tool["type"], tool["state"], tool["input"]) for tool in tools] == [
        ("tool-weather", "output-available", {"city": "Paris"}),
        ("tool-clock", "output-error", {"zone": None}),
    ]
    assert tools[0]["output"] == {"degrees": 21, "sky": None}
    assert tools[1]["errorText"] == "The clock is broken."
    order = [part["type"] for part in message("tools")["parts"]]
    assert order == ["step-start", "text", "tool-weather", "tool-clock", "text"]
    sources = [part["sourceId"] for part in parts_of(message("sources-data"), "source-")]
    assert sources == ["s1", "s2", "s3"]
    assert [part["data"] for part in parts_of(message("sources-data"), "data-")] == [
        {"degrees": 21},
        None,
    ]
    assert parts_of(message("files"), "file")[0]["url"] == PIXEL
    assert len(parts_of(message("steps"), "step-start")) == 2
    assert message("usage-length")["metadata"]["usage"] == {
        "inputTokens": 12,
        "outputTokens": 40,
        "totalTokens": 52,
        "reasoningTokens": 8,
        "cachedInputTokens": 4,
    }
    assert message("failed")["metadata"]["usage"]["totalTokens"] == 5


def test_the_first_ai_5_reads_every_story_if_it_is_named(node: Node) -> None:
    answers = node("ai", version="5.0", stories=list(STORIES), query="?version=5.0")
    for story, got in answers.items():
        assert got["errors"] == ([ERRORS[story]] if story in ERRORS else [])
        assert joined(said(got["message"])) == joined(text_of(story))


def test_ai_7_receives_an_interruption(node: Node) -> None:
    answers = node("ai", version=7, stories=["interrupted", "text"], query="?version=7")
    assert [got["errors"] for got in answers.values()] == [[], []]


def test_use_chat_renders_every_story(played: Played) -> None:
    answers = played["send"]
    for story, got in answers.items():
        assert joined(got["rendered"]) == joined(text_of(story))
        assert got["error"] == ERRORS.get(story)
        assert got["status"] == ("error" if story in ERRORS else "ready")
        assert [message["role"] for message in got["messages"]] == ["user", "assistant"]


def test_a_page_closed_in_mid_answer_resumes_the_whole_answer(played: Played) -> None:
    got = played["resume"]
    whole = "".join(f"{number} " for number in range(80))
    assert whole.startswith(got["before"]["text"])
    assert got["rendered"] == whole
    assert got["status"] == "ready"
    assert [message["role"] for message in got["messages"]] == ["user", "assistant"]
    assert got["messages"][1]["id"] == got["before"]["messages"][1]["id"]


def test_an_unknown_chat_has_nothing_to_resume_and_no_error(played: Played) -> None:
    got = played["fresh"]
    assert got == {"status": "ready", "error": None, "messages": []}


def test_a_chat_is_stopped_by_its_id(played: Played) -> None:
    got = played["stop"]
    assert "thrown" not in got, got["thrown"]
    assert got["stopped"]["stopped"] is True
    assert got["again"]["stopped"] is False
    assert (got["status"], got["rest"]) == ("ready", 204)
    assert len(got["text"]) < 500


def test_the_result_of_a_page_tool_extends_the_same_message(played: Played) -> None:
    messages = played["tool"]
    assert [message["role"] for message in messages] == ["user", "assistant"]
    tool = parts_of(messages[1], "tool-")[0]
    assert (tool["state"], tool["output"]) == ("output-available", "yes")
    assert said(messages[1]) == "You said yes."


def test_a_person_s_decision_extends_the_same_message(played: Played) -> None:
    for approved, got in played["approve"].items():
        assert got["status"] == "ready"
        assert [message["role"] for message in got["messages"]] == ["user", "assistant"]
        (tool,) = parts_of(got["messages"][1], "tool-")
        assert tool["approval"]["approved"] == (approved == "true")
        paid = {"state": "output-available", "output": {"paid": 5}}
        assert (paid.items() <= tool.items()) == (approved == "true")
        assert got["text"].endswith("Paid." if approved == "true" else "Not paid.")


def test_a_rejection_is_shown_as_its_message(played: Played) -> None:
    got = played["refused"]
    assert got["status"] == "error"
    assert got["error"].startswith("This provider says no. (reference: ")


def test_the_text_stream_is_read_and_a_broken_one_is_an_error(played: Played) -> None:
    got = played["text"]
    assert got == {"text": text_of("text"), "broken": {"status": "error", "text": "So far"}}


def test_use_completion_reads_both_of_its_protocols(played: Played) -> None:
    got = played["completion"]
    assert got == {"data": text_of("tools"), "text": text_of("tools")}
