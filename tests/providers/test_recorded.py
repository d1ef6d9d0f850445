"""What SDKs, old and new, were recorded to yield still says the same."""

from __future__ import annotations

import json
import typing as t

import pytest

from flask_aistream.providers.table import Chunks
from tests.providers.expected import Carries
from tests.providers.expected import said_by
from tests.providers.frozen import thaw
from tests.providers.record import RECORDED
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
