"""The documentation, cut into passages."""

from __future__ import annotations

from pathlib import Path

import pytest

from example_app.manual import passages
from example_app.manual.passages import Passage

LONG = " ".join(f"word{number}" for number in range(100))


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, "utf-8")


def pieces(root: Path, name: str, text: str) -> list[Passage]:
    write(root, name, text)
    read = passages.read_code if name.endswith(".py") else passages.read_markdown
    return list(read(root / name, root))


def test_a_section_is_a_passage_under_its_headings(tmp_path: Path) -> None:
    found = pieces(
        tmp_path, "docs/a.md", "# Top\nIntro.\n\n## Stop `now`\nBy a click.\n## Else\nNo.\n"
    )
    assert found == [
        Passage("docs/a.md", "Top", "Intro."),
        Passage("docs/a.md", "Stop now", "By a click."),
        Passage("docs/a.md", "Else", "No."),
    ]


def test_a_hash_within_code_is_no_heading(tmp_path: Path) -> None:
    text = "## Code\n\n```sh\n# a comment\n\nls\n```\n"
    assert [passage.text for passage in pieces(tmp_path, "a.md", text)] == [
        "```sh\n# a comment\n\nls\n```"
    ]


def test_a_long_section_is_cut_between_paragraphs(tmp_path: Path) -> None:
    found = pieces(tmp_path, "a.md", f"# A\n{LONG}\n\n{LONG}\n")
    assert [passage.text for passage in found] == [LONG, LONG]


def test_code_stays_with_the_paragraph_before_it(tmp_path: Path) -> None:
    (found,) = pieces(tmp_path, "a.md", f"# A\n{LONG}\n\n```\n{LONG}\n```\n")
    assert found.text.endswith("```")


def test_the_rows_of_a_long_table_are_passages_with_its_head(tmp_path: Path) -> None:
    rows = [f"| K{number} | {words} |" for number, words in enumerate([LONG, "short", "short too"])]
    table = "\n".join(["| Key | Says |", "|---|---|", *rows])
    found = pieces(tmp_path, "a.md", f"# Keys\n\n{table}\n")
    assert [passage.text.splitlines()[2] for passage in found] == rows
    assert all(passage.text.startswith("| Key | Says |\n|---|---|\n") for passage in found)


MODULE = '''
"""What it is.

Says ``more``, see :meth:`Log.end`.

    a drawing
"""

class Log:
    """A log.

    :param size: In bytes,
        not in words.
    """

    def _hidden(self):
        """Not public."""
'''


def test_the_docstrings_of_what_is_public_become_markdown(tmp_path: Path) -> None:
    assert pieces(tmp_path, "pkg/log.py", MODULE) == [
        Passage(
            "pkg/log.py",
            "pkg.log",
            "What it is.\n\nSays `more`, see `Log.end`.\n\n```\na drawing\n```",
        ),
        Passage("pkg/log.py", "pkg.log.Log", "A log.\n\n- `size`: In bytes, not in words."),
    ]


def test_a_package_is_named_without_its_init(tmp_path: Path) -> None:
    (found,) = pieces(tmp_path, "pkg/__init__.py", '"""A package."""')
    assert found.title == "pkg"


def test_the_repository_is_read_guides_first_and_scraps_left_out() -> None:
    found = passages.read_all()
    kinds = [passage.path.endswith(".md") for passage in found]
    assert kinds == sorted(kinds, reverse=True)
    assert {"README.md", "docs/deploy.md"} <= {passage.path for passage in found}
    assert min(len(passage.text.split()) for passage in found) >= passages.FEWEST


@pytest.mark.parametrize("path", ["README.md", "docs/deploy.md", "docs/quickstart.md"])
def test_no_word_of_a_guide_is_lost(path: str) -> None:
    file = passages.ROOT / path
    source = passages.COMMENT.sub("", file.read_text("utf-8"))
    said = {
        word
        for passage in passages.read_markdown(file, passages.ROOT)
        for word in passage.text.split()
    }
    lines = [line for line in source.splitlines() if not passages.HEADING.fullmatch(line)]
    assert {word for line in lines for word in line.split()} <= said
