"""Streams as named model servers send them, through raw responses and through the SDKs' objects."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from flask_aistream.core import events as ev
from tests.providers.outcomes import Outcome
from tests.providers.outcomes import outcome_of
from tests.upstream import memory
from tests.upstream.memory import WIRE
from tests.upstream.scripted import Script
from tests.upstream.scripted import event_stream

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

UPSTREAM = Path(__file__).parents[1] / "upstream"


def cases_of(name: str) -> list[t.Any]:
    lines = (UPSTREAM / name).read_text("utf-8").splitlines()
    cases = [json.loads(line) for line in lines]
    return [pytest.param(case, id=f"{case['wire']}: {case['case']}") for case in cases]


REPORTED = cases_of("cases.jsonl")
DEVIATIONS = cases_of("deviations.jsonl")


def yielded_from(wire: str) -> t.Iterator[t.Any]:
    yield from memory.parsed(wire)


def by_hand(wire: str) -> t.Iterator[t.Any]:
    for chunk in memory.parsed(wire):  # noqa: UP028
        yield chunk


async def by_hand_async(wire: str) -> t.AsyncIterator[t.Any]:
    async for chunk in await memory.parsed(wire, asynchronous=True):
        yield chunk


RAW: dict[str, t.Any] = {"raw": memory.raw, "raw, async": memory.raw_async}
DIRECT: dict[str, t.Any] = {
    **RAW,
    "parsed": memory.parsed,
    "parsed, yield from": yielded_from,
    "parsed, async": lambda wire: memory.parsed(wire, asynchronous=True),
}
WAYS: dict[str, t.Any] = {**DIRECT, "by hand": by_hand, "by hand, async": by_hand_async}


def twice(way: t.Callable[[str], t.Any], wire: str) -> t.Iterator[t.Any]:
    """Two model calls in one run."""
    for _ in range(2):
        result = way(wire)
        if hasattr(result, "__iter__"):
            yield from result
        else:
            yield result


def run(case: t.Any, way: str) -> Outcome:
    wire, _, repeated = case["wire"].partition(" ")
    if wire == "ollama":
        lines = [f"{json.dumps(chunk)}\n".encode() for chunk in case["chunks"]]
        WIRE.script = Script(lines, "application/x-ndjson")
    else:
        named = wire in ("anthropic", "openai-responses")
        WIRE.script = Script(event_stream(case["chunks"], case["done"], named=named))
    make = WAYS[way]
    return outcome_of(lambda request: twice(make, wire) if repeated else make(wire))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", REPORTED)
def test_a_stream_of_a_real_server_has_the_right_outcome(case: t.Any, way: str) -> None:
    if " " in case["wire"] and "async" in way:
        pytest.skip("Two answers in one run are read by a synchronous provider.")
    check(case, run(case, way), way)


@pytest.mark.parametrize("case", DEVIATIONS)
def test_a_deviation_has_the_same_outcome_raw_and_parsed(case: t.Any) -> None:
    raw, parsed = run(case, "raw"), run(case, "parsed")

    check(case, raw, "raw")
    if "parsed" in case["want"]:
        assert parsed.code == "upstream_invalid"
        return
    check(case, parsed, "parsed")
    if not case["want"].get("ends", "").startswith("raw response"):
        assert parsed == raw


@pytest.mark.nightly
@pytest.mark.parametrize("way", [way for way in WAYS if way not in ("raw", "parsed")])
@pytest.mark.parametrize("case", DEVIATIONS)
def test_a_deviation_has_the_right_outcome_in_every_way(case: t.Any, way: str) -> None:
    outcome = run(case, way)
    if "parsed" in case["want"] and way not in RAW:
        assert outcome.code == "upstream_invalid"
    elif outcome.events or way in RAW or outcome.terminal != ev.Finished("stop"):
        # Else a generator yielded nothing, which is an empty answer.
        check(case, outcome, way)


def check(case: t.Any, outcome: Outcome, way: str) -> None:
    want, ends = case["want"], case["want"].get("ends", "")
    assert outcome.code not in ("provider_error", "chunk_unknown")
    if "text" in want:
        assert outcome.fold.text == want["text"]
    if "reasoning" in want:
        assert outcome.fold.reasoning == want["reasoning"]
    if "urls" in want:
        urls = [it.url for it in outcome.events if isinstance(it, ev.SourceUrl)]
        assert urls == want["urls"]
    if "usage" in want:
        usage = outcome.fold.usage
        assert usage is not None
        counts = [4, 10] if isinstance(want["usage"], str) else want["usage"]
        assert [usage.input_tokens, usage.output_tokens] == counts
    if "calls" in want and (way in DIRECT or ends.startswith("finished")):
        assert [list(call) for call in outcome.calls] == want["calls"]
    check_end(ends, outcome, way)
    assert_deltas_join(outcome)


def check_end(ends: str, outcome: Outcome, way: str) -> None:
    known, _, word = ends.partition(" ")
    if ends.startswith("raw response: finished"):
        is_complete = way in RAW
    elif known == "finished":
        is_complete = True
    else:
        is_complete = False
        if not ends:
            return
    if way not in DIRECT and not is_complete and not isinstance(outcome.terminal, ev.Failed):
        # A loop of an application may leave the end marker out.
        assert isinstance(outcome.terminal, ev.Finished)
    elif is_complete:
        assert isinstance(outcome.terminal, ev.Finished)
        if known == "finished":
            late = outcome.terminal.reason == "unknown" and way not in DIRECT
            assert outcome.terminal.reason == word or late
    else:
        assert isinstance(outcome.terminal, ev.Failed | ev.Interrupted)
        if known == "failed" and word:
            assert outcome.code == word


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
            assert not text or text == call.arguments or json.loads(text) == call.arguments
