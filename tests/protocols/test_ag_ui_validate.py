"""pip ``ag-ui-validate``: the transcripts of all stories follow the rules of AG-UI."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from tests.lazy import LazyModule
from tests.protocols.stories import STORIES

if t.TYPE_CHECKING:
    import ag_ui_validate
else:
    ag_ui_validate = LazyModule("ag_ui_validate")

GOLDEN = Path(__file__).parents[1] / "golden" / "ag-ui"

EXCEPTIONS = {
    # The worker was lost within a tool call, whose arguments therefore are no JSON.
    "restarted": ["AGUI204"],
    # The call was made by the previous run of the thread; the validator knows only one run.
    "approved": ["AGUI207"],
    # A warning: the provider yielded an empty delta. Leaving it out would cost every token.
    "odd": ["AGUI105"],
}


@pytest.mark.parametrize("story", STORIES)
def test_a_transcript_breaks_no_rule_of_ag_ui(story: str) -> None:
    validator = ag_ui_validate.create_validator()
    for line in (GOLDEN / f"{story}.sse").read_text("ascii").splitlines():
        if line.startswith("data: "):
            validator.feed(json.loads(line.removeprefix("data: ")))
    validator.finalize()
    report = validator.report()
    found = [it.rule for it in report.diagnostics if it.severity in ("error", "warning")]
    assert found == EXCEPTIONS.get(story, [])
    assert report.internal_errors == []
