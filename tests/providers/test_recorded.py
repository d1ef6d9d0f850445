"""What SDKs, old and new, were recorded to yield still says the same."""

from __future__ import annotations

import json
import typing as t

import pytest

from flask_aistream.providers.accounting import Accounting
from flask_aistream.providers.body import BodyReader
from flask_aistream.providers.table import Chunks
from tests.providers.expected import Carries
from tests.providers.expected import said_by
from tests.providers.frozen import thaw
from tests.providers.frozen import to_json
from tests.providers.record import RECORDED
from tests.upstream.scripted import event_stream
from tests.upstream.stories import story_of


def recordings() -> t.Iterator[t.Any]:
    for path in sorted(RECORDED.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            told = json.loads(line)
            yield pytest.param(told, id=f"{path.stem} {told['call']}: {told['story']}")


@pytest.mark.parametrize("told", list(recordings()))
def test_a_recording_says_what_the_model_said(told: t.Any) -> None:
    carries = Carries.from_json(told["carries"])
    chunks = Chunks()

    events = [event for chunk in told["chunks"] for event in chunks.events(thaw(chunk))]
    events += chunks.close()

    assert carries.heard(said_by(events)) == carries.of(story_of(told["story"], ""))


WIRES = ("anthropic", "google-genai", "litellm", "ollama", "openai")


@pytest.mark.parametrize("told", [it for it in recordings() if str(it.id).startswith(WIRES)])
def test_a_recording_says_the_same_raw(told: t.Any) -> None:
    chunks = Chunks()
    chunks.from_stream(told)
    parsed = [event for chunk in told["chunks"] for event in chunks.events(thaw(chunk))]
    parsed += chunks.close()
    body = BodyReader(200, {}, Accounting())
    raw = [
        event
        for part in event_stream(to_json(told["chunks"]), done=False)
        for event in body.feed(part)
    ]

    assert [*raw, *body.end()] == parsed
