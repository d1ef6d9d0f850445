from __future__ import annotations

import typing as t

import pytest

from flask_aistream.core.request import ChatRequest
from flask_aistream.core.request import last_prompt
from flask_aistream.core.request import text_of

IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Hello", "Hello"),
        ([{"type": "text", "text": "Hel"}, IMAGE, {"type": "text", "text": "lo"}], "Hello"),
        ([IMAGE], ""),
        ([], ""),
        (["Hello", 1, None, {"text": 1}], ""),
        (None, ""),
        (7, ""),
        ({"text": "Hello"}, ""),
    ],
)
def test_the_text_of_a_content(content: t.Any, text: str) -> None:
    assert text_of(content) == text


@pytest.mark.parametrize(
    ("messages", "prompt"),
    [
        ([], ""),
        ([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}], "b"),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "a"),
        ([{"role": "system", "content": "a"}], ""),
        ([{"role": "user"}], ""),
    ],
)
def test_the_prompt_is_what_the_user_said_last(
    messages: list[dict[str, t.Any]], prompt: str
) -> None:
    assert last_prompt(messages) == prompt


def test_what_the_caller_sent_is_not_in_the_logs_by_accident() -> None:
    assert "secret" not in repr(ChatRequest("Hi", [], body={"token": "secret"}))


def test_two_requests_do_not_share_what_they_hold() -> None:
    one, other = ChatRequest("", []), ChatRequest("", [])
    one.params["a"] = 1
    one.on_stop(lambda: None)
    assert (other.params, other.stopping()) == ({}, [])


def test_callbacks_for_a_stop_are_called_once_also_when_they_come_too_late() -> None:
    called: list[str] = []
    request = ChatRequest("", [])
    request.on_stop(lambda: called.append("early"))
    for callback in request.stopping():
        callback()
    request.on_stop(lambda: called.append("late"))
    assert called == ["early", "late"]
    assert request.stopping() == []
