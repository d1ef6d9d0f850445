"""Real SDKs, asking the local upstream: what it says is what the run says."""

from __future__ import annotations

import threading
import typing as t

import pytest

from tests.providers.collect import Drained
from tests.providers.collect import drain
from tests.providers.collect import leave_after
from tests.providers.expected import said_by
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


@pytest.fixture(autouse=True)
def _installed(call: Call) -> None:
    if not call.exists():
        pytest.skip("The installed version of the SDK does not have it.")


def every_call_with(*models: str) -> list[t.Any]:
    """Skipped, with the reason, where the SDK does not tell that story."""
    return [
        pytest.param(
            call,
            model,
            id=f"{sdk} {call.name}: {model}",
            marks=pytest.mark.skipif(model in call.without, reason=call.without.get(model, "")),
        )
        for sdk, call in calls()
        for model in models
    ]


@pytest.mark.parametrize(("call", "model"), every_call_with(*STORIES))
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


@pytest.mark.parametrize(("call", "model"), every_call_with("error-middle", "cut"))
def test_an_error_in_the_middle_is_raised_after_what_was_said(
    upstream: Upstream, call: Call, model: str
) -> None:
    drained = Drained()

    with pytest.raises(Exception):  # noqa: B017, PT011
        drain(call.ask(upstream.url, model), drained)

    assert said_by(drained.events).text == ("Half a" if call.streams else "")


STREAMS = [
    pytest.param(call, id=f"{sdk} {call.name}")
    for sdk, call in calls()
    if call.streams and call.leaves
]


@pytest.mark.parametrize("call", STREAMS)
def test_leaving_early_hangs_up_on_the_vendor(call: Call) -> None:
    with Upstream() as upstream:
        asked = Asked(upstream)
        said = leave_after("three ", call.ask(upstream.url, "silent"), asked)
        outcome = upstream.wait_for("silent").outcome

    assert said.endswith("three ")
    assert outcome == "gone"


class Asked(threading.Event):
    """Whether the only exchange there is has ended."""

    def __init__(self, upstream: Upstream) -> None:
        super().__init__()
        self.upstream = upstream

    def is_set(self) -> bool:
        return self.upstream.exchanges[-1].over.is_set()
