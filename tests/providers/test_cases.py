"""Streams as named model servers send them, through raw responses and through the SDKs' objects."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from flask_aistream.core import events as ev
from tests.providers.outcomes import Outcome
from tests.providers.outcomes import outcome_of
from tests.upstream.scripted import Script
from tests.upstream.scripted import Scripted
from tests.upstream.scripted import event_stream

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

RECORDED = Path(__file__).parents[1] / "upstream" / "cases.jsonl"
CASES = [
    pytest.param(case, id=case["case"])
    for case in map(json.loads, RECORDED.read_text("utf-8").splitlines())
]
MESSAGES: list[t.Any] = [{"role": "user", "content": "Say it."}]
ASKED: dict[str, dict[str, t.Any]] = {
    "openai-chat": {"model": "m", "messages": MESSAGES, "stream": True},
    "openai-responses": {"model": "m", "input": "Say it.", "stream": True},
    "anthropic": {"model": "m", "messages": MESSAGES, "max_tokens": 9, "stream": True},
}


def endpoint(wire: str, url: str, *, asynchronous: bool = False) -> t.Any:
    if wire == "anthropic":
        import anthropic

        kind: t.Any = anthropic.AsyncAnthropic if asynchronous else anthropic.Anthropic
        return kind(base_url=url, api_key="none", max_retries=0).messages
    import openai

    kind = openai.AsyncOpenAI if asynchronous else openai.OpenAI
    client = kind(base_url=f"{url}/v1", api_key="none", max_retries=0)
    return client.responses if wire == "openai-responses" else client.chat.completions


def raw(wire: str, url: str) -> t.Any:
    return lambda request: endpoint(wire, url).with_streaming_response.create(**ASKED[wire])


def raw_async(wire: str, url: str) -> t.Any:
    def provider(request: t.Any) -> t.Any:
        made = endpoint(wire, url, asynchronous=True)
        return made.with_streaming_response.create(**ASKED[wire])

    return provider


def parsed(wire: str, url: str) -> t.Any:
    return lambda request: endpoint(wire, url).create(**ASKED[wire])


def yielded_from(wire: str, url: str) -> t.Any:
    def provider(request: t.Any) -> t.Any:
        yield from endpoint(wire, url).create(**ASKED[wire])

    return provider


def parsed_async(wire: str, url: str) -> t.Any:
    async def provider(request: t.Any) -> t.Any:
        return await endpoint(wire, url, asynchronous=True).create(**ASKED[wire])

    return provider


RAW = {"raw": raw, "raw, async": raw_async}
WAYS = {**RAW, "parsed": parsed, "parsed, yield from": yielded_from, "parsed, async": parsed_async}


def twice(provider: t.Any) -> t.Any:
    """Two model calls in one run."""

    def called(request: t.Any) -> t.Any:
        for _ in range(2):
            result = provider(request)
            if hasattr(result, "__iter__"):
                yield from result
            else:
                yield result

    return called


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES)
def test_a_stream_of_a_real_server_has_the_right_outcome(case: t.Any, way: str) -> None:
    wire, _, repeated = case["wire"].partition(" ")
    if repeated and "async" in way:
        pytest.skip("Two answers in one run are read by a synchronous provider.")
    body = event_stream(case["chunks"], case["done"], named=wire != "openai-chat")
    with Scripted(Script(body)) as server:
        provider = WAYS[way](wire, server.url)
        outcome = outcome_of(twice(provider) if repeated else provider)
    check(case, outcome, way in RAW)


def check(case: t.Any, outcome: Outcome, is_raw: bool) -> None:
    want = case["want"]
    if "text" in want:
        assert outcome.fold.text == want["text"]
    if "calls" in want:
        assert [list(call) for call in outcome.calls] == want["calls"]
    if "usage" in want:
        usage = outcome.fold.usage
        assert usage is not None
        counts = [4, 10] if isinstance(want["usage"], str) else want["usage"]
        assert [usage.input_tokens, usage.output_tokens] == counts
    ends = want.get("ends", "")
    if ends.startswith("finished"):
        assert outcome.terminal == ev.Finished(ends.split()[1])
    elif ends.startswith("raw response: finished"):
        assert isinstance(outcome.terminal, ev.Finished if is_raw else ev.Failed)
    elif ends:
        assert isinstance(outcome.terminal, ev.Failed | ev.Interrupted)
        assert not outcome.calls
    assert_deltas_join(outcome)


def assert_deltas_join(outcome: Outcome) -> None:
    """What AG-UI and OpenAI's chunks carry is the whole arguments."""
    for call in outcome.events:
        if isinstance(call, ev.ToolCall):
            deltas = (
                e.delta
                for e in outcome.events
                if isinstance(e, ev.ToolCallArguments) and e.id == call.id
            )
            text = "".join(deltas)
            assert not text or json.loads(text) == call.arguments
