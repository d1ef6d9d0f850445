"""Write the pages of the reference that follow from the code: reference_pages.py [--check]."""

from __future__ import annotations

import sys
import typing as t
from collections.abc import Iterator
from pathlib import Path

from flask import Flask
from sizing import sizing_page

from flask_aistream import AIStream
from flask_aistream.web.config import KEYS
from flask_aistream.web.config import Key

DOCS = Path(__file__).parent.parent / "docs"

CONFIG = """\
# Configuration

Keys of `app.config`. They are read once, when the blueprint is registered, so set them before. Times are in
seconds, sizes in bytes; `None` sets no limit where the table names none. An invalid value is refused at
start-up.

<!-- Made by `make reference-pages` from flask_aistream/web/config.py. Change it there. -->
"""

KEY_TABLE = """
| key | default | unit | what it does |
|---|---|---|---|
"""

ADVANCED = """
## You should not need these

Their defaults were measured, or follow from the server. If you have to change one, please report why.
"""

HTTP = """\
# HTTP routes

The routes of a blueprint, below its `url_prefix`. `GET /openapi.json` describes them in OpenAPI 3.1, with the shapes of
requests and answers, in debug mode or with `AISTREAM_OPENAPI = True`. [Error codes](errors.md) lists what is in an error.

<!-- Made by `make reference-pages` from flask_aistream/web/openapi/. Change it there. -->

| route | does | query and headers | statuses |
|---|---|---|---|
"""


def main() -> None:
    pages = {
        "reference/config.md": reference_pages(KEYS),
        "reference/http.md": http_page(),
        "deploy/sizing.md": sizing_page(),
    }
    for name, page in pages.items():
        path = DOCS / name
        if "--check" not in sys.argv:
            path.write_text(page, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != page:
            sys.exit(f"{name} is stale. Run `make reference-pages` and commit it.")


def reference_pages(keys: t.Sequence[Key]) -> str:
    usual = "".join(key_row(key) for key in keys if not key.advanced)
    advanced = "".join(key_row(key) for key in keys if key.advanced)
    return CONFIG + KEY_TABLE + usual + ADVANCED + KEY_TABLE + advanced


def key_row(key: Key) -> str:
    return row(f"`{key.name}`", f"`{key.default!r}`", key.unit, " ".join(key.doc.split()))


def http_page() -> str:
    return HTTP + "".join(route_rows(described_routes()))


def described_routes() -> dict[str, t.Any]:
    """The paths of the OpenAPI description of a blueprint with one provider."""
    app = Flask("reference")
    app.config["AISTREAM_OPENAPI"] = True
    ai = AIStream()
    ai.provider(name="chat")(lambda request: iter(()))
    ai.init_app(app)
    paths: dict[str, t.Any] = app.test_client().get("/openapi.json").get_json()["paths"]
    return paths


def route_rows(paths: dict[str, t.Any]) -> Iterator[str]:
    for path, operations in paths.items():
        for method, operation in operations.items():
            given = [it["name"] for it in operation["parameters"] if it["in"] != "path"]
            yield row(
                f"`{method.upper()} {path}`",
                operation["summary"],
                ", ".join(f"`{name}`" for name in given),
                " ".join(operation["responses"]),
            )


def row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


if __name__ == "__main__":
    main()
