"""Streams of LangChain over OpenAI's wire, answered from memory."""

from __future__ import annotations

import functools
import typing as t

import pytest

from flask_aistream.core import events as ev
from tests.providers.outcomes import outcome_of
from tests.providers.test_deviations import delta
from tests.providers.test_deviations import part
from tests.upstream.memory import WIRE
from tests.upstream.memory import http_client
from tests.upstream.scripted import Script
from tests.upstream.scripted import event_stream

pytestmark = pytest.mark.filterwarnings("ignore")


@functools.cache
def model() -> t.Any:
    from langchain_openai import ChatOpenAI

    clients: dict[str, t.Any] = {
        "http_client": http_client("httpx2", asynchronous=False),
        "http_async_client": http_client("httpx2", asynchronous=True),
    }
    return ChatOpenAI(
        model="m", api_key=t.cast(t.Any, "none"), base_url="http://model", max_retries=0, **clients
    )


WAYS: dict[str, t.Callable[[], t.Any]] = {
    "stream": lambda: model().stream("Say it."),
    "astream": lambda: model().astream("Say it."),
    "astream_events": lambda: model().astream_events("Say it.", version="v2"),
}
A = delta(content="a")
CASES: dict[str, tuple[list[t.Any], str]] = {
    "complete": ([A, delta("stop")], "Finished"),
    "cut": ([A], "upstream_incomplete"),
    "cut in a tool call": ([delta(tool_calls=[part('{"a":', "f", "c")])], "upstream_incomplete"),
    "broken off": ([A, delta("error")], "upstream_error"),
    "aborted": ([A, delta("abort")], "upstream_incomplete"),
    "an error": ([A, {"error": {"message": "m", "code": 429}}], "upstream_rate_limited"),
    "nothing": ([], "upstream_invalid"),
    "choices of another type": ([A, {"id": "c", "choices": {"a": 1}}], "upstream_invalid"),
    "a call without a function": (
        [A, delta(tool_calls=[{"index": 0, "id": "c", "function": None}])],
        "upstream_invalid",
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES)
def test_a_stream_of_langchain_ends_as_its_service_ended_it(case: str, way: str) -> None:
    chunks, code = CASES[case]
    WIRE.script = Script(event_stream(chunks, done=False))
    outcome = outcome_of(lambda request: WAYS[way]())

    assert outcome.code == code
    assert not outcome.calls
    if A in chunks:
        assert outcome.fold.text == "a"
    if code == "Finished":
        assert outcome.terminal == ev.Finished("stop")
