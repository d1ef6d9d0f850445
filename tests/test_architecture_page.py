"""The files that ``docs/architecture.md`` names exist, and its folders are those of the package."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "flask_aistream"
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")

FILE = re.compile(r"[\w./]+\.(?:py|js)\b")
FOLDER = re.compile(r"`([\w/]+/)`")


def test_the_files_that_the_page_names_exist() -> None:
    named = set(FILE.findall(PAGE))
    assert named
    assert {
        name for name in named if not any((at / name).is_file() for at in (PACKAGE, ROOT))
    } == set()


def test_the_page_names_every_folder_of_the_package() -> None:
    folders = {f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")}
    assert folders - set(FOLDER.findall(PAGE)) == set()


def test_the_page_has_a_diagram_for_each_of_its_five_walks() -> None:
    walks = re.findall(r"^## An? (\w+)\n(?:(?!^## ).*\n)*?```mermaid", PAGE, re.MULTILINE)
    assert walks == ["prompt", "token", "stop", "resume", "drain"]
