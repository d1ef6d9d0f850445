"""The wheel, the changelog and the reference agree with the package."""

from __future__ import annotations

import configparser
import fnmatch
import re
from pathlib import Path

import flask_aistream

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "flask_aistream"
API_PAGE = ROOT / "docs" / "reference" / "api.md"
CHANGES = ROOT / "CHANGES.md"

# A heading of the API page names what it documents: "## `AIStream(…)`", "### `Cursor`".
DOCUMENTED = re.compile(r"^#{2,3} `(?:class |@)?(\w+)", re.MULTILINE)
RELEASE = re.compile(r"^## (\d+\.\d+\.\d+) – (?:unreleased|\d{4}-\d\d-\d\d)$", re.MULTILINE)

METADATA = configparser.ConfigParser()
METADATA.read(ROOT / "setup.cfg", encoding="utf-8")


def test_the_reference_documents_exactly_the_public_names() -> None:
    assert set(DOCUMENTED.findall(API_PAGE.read_text(encoding="utf-8"))) == set(
        flask_aistream.__all__
    )


def test_every_public_name_exists() -> None:
    assert [name for name in flask_aistream.__all__ if not hasattr(flask_aistream, name)] == []


def test_the_changelog_starts_with_the_current_version() -> None:
    assert RELEASE.findall(CHANGES.read_text(encoding="utf-8"))[:1] == [flask_aistream.__version__]


def test_the_wheel_has_types_and_client() -> None:
    patterns = METADATA["options.package_data"]["flask_aistream"].split()
    data = [
        path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]
    names = {path.relative_to(PACKAGE).as_posix() for path in data if path.suffix != ".py"}
    assert {"py.typed", "static/aistream.js", "static/aistream.d.ts"} <= names
    assert {name for name in names if not matches(name, patterns)} == set()


def matches(name: str, patterns: list[str]) -> bool:
    # setuptools' "*" stays inside its folder, fnmatch's does not.
    return any(
        fnmatch.fnmatch(name, pattern) and name.count("/") == pattern.count("/")
        for pattern in patterns
    )
