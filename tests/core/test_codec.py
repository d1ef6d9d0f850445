from __future__ import annotations

import json

import pytest

from flask_aistream.core import events as ev
from flask_aistream.core.codec import NAMES
from flask_aistream.core.codec import from_json
from flask_aistream.core.codec import to_json
from tests.core.samples import EVENTS


def test_every_event_survives_json() -> None:
    assert [from_json(json.loads(json.dumps(to_json(event)))) for event in EVENTS] == EVENTS


def test_every_event_has_a_name_and_a_sample() -> None:
    assert {*NAMES, str} == set(ev.EVENTS) == {type(event) for event in EVENTS}
    assert len(set(NAMES.values())) == len(NAMES)


def test_a_field_of_a_newer_version_is_dropped() -> None:
    assert from_json({"type": "finished", "reason": "stop", "mood": "good"}) == ev.Finished("stop")


def test_a_field_missing_from_an_older_version_gets_its_default() -> None:
    assert from_json({"type": "failed", "code": "c", "message": "m"}) == ev.Failed("c", "m")


def test_an_unknown_event_is_rejected() -> None:
    with pytest.raises(KeyError, match="telepathy"):
        from_json({"type": "telepathy"})
