"""Real SDKs, asking the local upstream: what it says is what the run says."""

from __future__ import annotations

import pytest

from tests.providers.drain import Drained
from tests.providers.drain import drain
from tests.providers.said import said_by
from tests.providers.sdks import Call
from tests.providers.sdks import calls
from tests.upstream import Upstream
from tests.upstream.stories import story_of

# What SDKs warn of is between them and Python.
pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

STORIES = [
    "hello",
    "odd",
    "empty",
    "length",
    "filter",
    "reasoning",
    "tools",
    "bare-tool",
    "sources",
    "image",
]
CALLS = [pytest.param(call, id=f"{sdk} {call.name}") for sdk, call in calls()]
TELLS = [
    pytest.param(call, model, id=f"{sdk} {call.name}: {model}")
    for sdk, call in calls()
    for model in STORIES
    if model not in call.without
]


@pytest.mark.parametrize(("call", "model"), TELLS)
def test_what_the_model_says_is_what_the_run_says(
    upstream: Upstream, call: Call, model: str
) -> None:
    drained = drain(call.ask(upstream.url, model))

    assert call.carries.heard(said_by(drained.events)) == call.carries.of(story_of(model, ""))


@pytest.mark.parametrize("call", CALLS)
def test_a_refusal_before_the_first_token_is_raised(upstream: Upstream, call: Call) -> None:
    drained = Drained()

    with pytest.raises(Exception):  # noqa: B017, PT011 – every SDK has errors of its own.
        drain(call.ask(upstream.url, "error-429"), drained)

    assert said_by(drained.events).text == ""


BREAKS = [
    pytest.param(call, model, id=f"{sdk} {call.name}: {model}")
    for sdk, call in calls()
    for model in ("error-middle", "cut")
    if model not in call.hides
]


@pytest.mark.parametrize(("call", "model"), BREAKS)
def test_an_error_in_the_middle_is_raised_after_what_was_said(
    upstream: Upstream, call: Call, model: str
) -> None:
    drained = Drained()

    with pytest.raises(Exception):  # noqa: B017, PT011
        drain(call.ask(upstream.url, model), drained)

    assert said_by(drained.events).text == ("Half a" if call.streams else "")
