"""Cut the documentation into passages: a section of a Markdown file, or a docstring.

A passage is short enough to be quoted whole, and long enough to be understood alone.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterable
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MARKDOWN = ("README.md", "CHANGES.md", "docs/**/*.md")
CODE = ("flask_aistream/**/*.py",)

# Longer sections are cut between paragraphs. A reader takes in about this many words at a glance.
WORDS = 110
FEWEST = 18  # Fewer say nothing by themselves.

HEADING = re.compile(r"(#{1,4})\s+(.+?)\s*#*$")
COMMENT = re.compile(r"<!--.*?-->\s*", re.DOTALL)
FENCE = "```"


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of documentation.

    :param path: The file it stands in, relative to the root of the repository.
    :param title: The headings above it, or the dotted name of what it documents.
    :param text: Markdown.
    """

    path: str
    title: str
    text: str


def read_all(root: Path = ROOT) -> list[Passage]:
    """Every passage of the repository at ``root``, guides first."""
    found = [
        *(passage for path in files(root, MARKDOWN) for passage in read_markdown(path, root)),
        *(passage for path in files(root, CODE) for passage in read_code(path, root)),
    ]
    return [passage for passage in found if len(passage.text.split()) >= FEWEST]


def files(root: Path, patterns: Iterable[str]) -> list[Path]:
    return [path for pattern in patterns for path in sorted(root.glob(pattern)) if path.is_file()]


def read_markdown(path: Path, root: Path) -> Iterator[Passage]:
    name = path.relative_to(root).as_posix()
    source = COMMENT.sub("", path.read_text("utf-8"))
    for headings, blocks in sections(source):
        title = " › ".join(headings[1:] or headings)
        yield from (Passage(name, title, text) for text in portions(blocks))


def sections(source: str) -> Iterator[tuple[list[str], list[str]]]:
    """The headings above each section, outermost first, and its blocks."""
    headings: list[str] = []
    found: list[str] = []
    for block in blocks_of(source):
        heading = HEADING.fullmatch(block)
        if not heading:
            found.append(block)
            continue
        if found:
            yield headings, found
        headings, found = [*headings[: len(heading[1]) - 1], heading[2].replace("`", "")], []
    if found:
        yield headings, found


def blocks_of(source: str) -> Iterator[str]:
    """Paragraphs, headings, whole fenced code blocks, and the rows of long tables."""
    for block in split(source):
        yield from rows_of(block) if is_long_table(block) else [block]


def split(source: str) -> Iterator[str]:
    lines: list[str] = []
    fenced = False
    for line in [*source.splitlines(), ""]:
        fence = line.lstrip().startswith(FENCE)
        alone = not fenced and HEADING.fullmatch(line)
        if lines and not fenced and (not line.strip() or alone):
            yield "\n".join(lines)
            lines = []
        if alone:
            yield line
        elif line.strip() or fenced:
            lines.append(line)
        fenced ^= fence
    if lines:
        yield "\n".join(lines)


def is_long_table(block: str) -> bool:
    return block.startswith("|") and len(block.split()) > WORDS


def rows_of(table: str) -> Iterator[str]:
    """Each row as a table of its own: a reference is asked for one row at a time."""
    head, line, *rows = table.splitlines()
    yield from (f"{head}\n{line}\n{row}" for row in rows)


def portions(blocks: Iterable[str]) -> Iterator[str]:
    """Join blocks up to ``WORDS`` words. Code stays with the paragraph that introduces it, and every
    row of a long table stands alone."""
    portion: list[str] = []
    for block in blocks:
        full = len(" ".join([*portion, block]).split()) > WORDS and not block.startswith(FENCE)
        next_row = block.startswith("|") and portion and portion[-1].startswith("|")
        if portion and (full or next_row):
            yield "\n\n".join(portion)
            portion = []
        portion.append(block)
    if portion:
        yield "\n\n".join(portion)


def read_code(path: Path, root: Path) -> Iterator[Passage]:
    """The docstrings of a module, its public classes and functions."""
    name = path.relative_to(root)
    module = ".".join(name.with_suffix("").parts).removesuffix(".__init__")
    for title, docstring in docstrings(ast.parse(path.read_text("utf-8")), module):
        yield Passage(name.as_posix(), title, markdown_of(docstring))


def docstrings(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        if docstring := ast.get_docstring(node):
            yield name, docstring
        for child in node.body:
            title = getattr(child, "name", "_")
            if not title.startswith("_"):
                yield from docstrings(child, f"{name}.{title}")


MARKUP = [
    (re.compile(r"``(.+?)``"), r"`\1`"),
    (re.compile(r":\w+:`~?(.+?)`"), r"`\1`"),
    (re.compile(r"^\.\. .*\n?", re.MULTILINE), ""),
    (re.compile(r"^:(?:param|raises?|returns?)\s*([\w.]*):\s*", re.MULTILINE), r"- `\1`: "),
    (re.compile(r"\n {4,}(?=\S)(?![^\n]*\n\n)"), " "),
    (re.compile(r"::$", re.MULTILINE), ":"),
]


def markdown_of(docstring: str) -> str:
    """The few marks that our docstrings use, as Markdown."""
    return "\n\n".join(block_of(block) for block in docstring.split("\n\n") if block.strip())


def block_of(block: str) -> str:
    if all(line.startswith("    ") for line in block.splitlines() if line):
        return f"{FENCE}\n{textwrap.dedent(block)}\n{FENCE}"
    for pattern, text in MARKUP:
        block = pattern.sub(text, block)
    return block.strip()
