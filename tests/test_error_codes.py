"""docs/reference/errors.md lists every error code of the package, and no other."""

from __future__ import annotations

import ast
import re
import typing as t
from pathlib import Path

from flask_aistream import errors
from flask_aistream.providers.failure import FAILURES

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference" / "errors.md"
CODE = re.compile(r"[a-z]+(?:_[a-z]+)+")
RAISED = {"__init__", "RequestError", "Failed", "ProviderError", "AccessDenied", "Unavailable"}
"""Classes that are given a code when they are made."""


def test_the_page_lists_every_code_and_no_other() -> None:
    documented = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(documented) == sorted(set(documented))
    assert set(documented) == {
        *of_classes(),
        *FAILURES,
        *literals(),
        "idle_timeout",
        "first_event_timeout",
    }


def of_classes() -> set[str]:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    return {
        kind.code
        for kind in kinds
        if issubclass(kind, errors.AIStreamError) and kind.code != errors.AIStreamError.code
    }


def literals() -> t.Iterator[str]:
    """Codes that are written where an error is made."""
    for path in sorted((ROOT / "flask_aistream").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and name_of(node.func) in RAISED:
                values = [*node.args, *(keyword.value for keyword in node.keywords)]
                yield from (
                    value.value
                    for value in values
                    if isinstance(value, ast.Constant)
                    and isinstance(value.value, str)
                    and CODE.fullmatch(value.value)
                    and value.value != "flask_aistream"
                )


def name_of(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
