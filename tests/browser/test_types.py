"""``aistream.d.ts`` and the reference name what the module exports."""

from __future__ import annotations

import re
from pathlib import Path

from tests.browser.scripted import STATIC

EXPORT = re.compile(r"^export (?:async )?(?:class|function) (\w+)", re.MULTILINE)
REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "client.md"


def exported() -> set[str]:
    return set(EXPORT.findall((STATIC / "aistream.js").read_text()))


def test_the_types_name_what_the_module_exports() -> None:
    assert set(EXPORT.findall((STATIC / "aistream.d.ts").read_text())) == exported()


def test_the_reference_names_what_the_module_exports() -> None:
    text = REFERENCE.read_text()
    # The element is known to its users by its tag.
    assert {name for name in exported() - {"AIStreamElement"} if f"`{name}" not in text} == set()
