"""Write the configuration page from the rows that the code reads: config_page.py [--check]."""

from __future__ import annotations

import sys
import typing as t
from pathlib import Path

from flask_aistream.web.config import KEYS
from flask_aistream.web.config import Key

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "config.md"

HEAD = """\
# Configuration

Keys of `app.config`. They are read once, when the blueprint is registered, so set them before. Times are in
seconds, sizes in bytes; `None` sets no limit where the table names none. An invalid value is refused at
start-up.

<!-- Made by `make config-page` from flask_aistream/web/config.py. Change it there. -->
"""

TABLE = """
| key | default | unit | what it does |
|---|---|---|---|
"""

ADVANCED = """
## You should not need these

Their defaults were measured, or follow from the server. If you have to change one, please report why.
"""


def main() -> None:
    page = page_of(KEYS)
    if "--check" not in sys.argv:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(page, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page:
        sys.exit(f"{PAGE.name} is stale. Run `make config-page` and commit it.")


def page_of(keys: t.Sequence[Key]) -> str:
    usual = "".join(row(key) for key in keys if not key.advanced)
    advanced = "".join(row(key) for key in keys if key.advanced)
    return HEAD + TABLE + usual + ADVANCED + TABLE + advanced


def row(key: Key) -> str:
    cells = (f"`{key.name}`", f"`{key.default!r}`", key.unit or "", " ".join(key.doc.split()))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


if __name__ == "__main__":
    main()
