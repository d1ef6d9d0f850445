from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_aistream.core.request import ChatRequest
from flask_aistream.core.request import StopSignal
from flask_aistream.core.request import last_prompt
from flask_aistream.core.request import text_of
from flask_aistream.errors import RequestError

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
def test_the_text_of_a_message_content(content: t.Any, text: str) -> None:
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
def test_the_prompt_is_the_text_of_the_last_user_message(
    messages: list[dict[str, t.Any]], prompt: str
) -> None:
    assert last_prompt(messages) == prompt


def test_the_repr_of_a_request_omits_the_body() -> None:
    assert "secret" not in repr(ChatRequest("Hi", [], body={"token": "secret"}))


def test_requests_do_not_share_mutable_defaults() -> None:
    one, other = ChatRequest("", []), ChatRequest("", [])
    one.params["a"] = 1
    one.on_stop(lambda: None)
    assert (other.params, other.request_stop()) == ({}, [])


def test_a_stop_callback_is_called_once_also_if_it_is_added_after_the_stop() -> None:
    called: list[str] = []
    request = ChatRequest("", [])
    request.on_stop(lambda: called.append("early"))
    for callback in request.request_stop():
        callback()
    request.on_stop(lambda: called.append("late"))
    assert called == ["early", "late"]
    assert request.request_stop() == []


TEXTS = st.text(st.characters(codec=None))  # Includes lone surrogates and NUL.
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=4)
REQUESTS = st.builds(
    ChatRequest,
    prompt=TEXTS,
    messages=st.lists(OBJECTS, max_size=4),
    params=OBJECTS,
    body=OBJECTS,
    provider=TEXTS,
    run=TEXTS,
    owner=st.none() | TEXTS,
    chat=st.none() | TEXTS,
    continues=st.none() | TEXTS,
    background=st.booleans(),
    _stop=st.builds(StopSignal),
)


@given(REQUESTS)
def test_an_encoded_request_decodes_to_an_equal_request(request: ChatRequest) -> None:
    text = request.encode()
    assert text.isascii()
    assert ChatRequest.decode(text) == request


def test_unknown_fields_of_a_newer_version_are_dropped() -> None:
    text = ChatRequest("Hi", []).encode().replace("{", '{"later": 1, ', 1)
    assert ChatRequest.decode(text) == ChatRequest("Hi", [])


def test_stop_callbacks_are_not_encoded() -> None:
    request = ChatRequest("Hi", [])
    request.on_stop(lambda: None)
    assert ChatRequest.decode(request.encode()).request_stop() == []


@pytest.mark.parametrize("body", [{"file": b"bytes"}, {(1, 2): 3}], ids=["bytes", "key"])
def test_a_value_without_a_json_form_is_rejected(body: dict[t.Any, t.Any]) -> None:
    with pytest.raises(RequestError, match="cannot be sent to another process"):
        ChatRequest("Hi", [], body=body).encode()


def test_a_value_that_is_nested_too_deeply_is_rejected() -> None:
    body: dict[str, t.Any] = {}
    for _ in range(100_000):
        body = {"a": body}
    with pytest.raises(RequestError, match="cannot be sent to another process"):
        ChatRequest("Hi", [], body=body).encode()


def test_a_request_kept_for_history_loses_its_body_only() -> None:
    given = [{"role": "user", "content": "Hi"}]
    for prompt in ("Hi", "", "Other"):
        fields = {"params": {"a": 1}, "chat": "c", "approved": [{"id": "1"}]}
        request = ChatRequest(prompt, given, body={"b": 1}, **fields)  # type: ignore[arg-type]
        kept = ChatRequest.decode(request.encode_for_history(None))
        assert kept == ChatRequest(prompt, given, **fields)  # type: ignore[arg-type]
