"""The first Python block of a page, as a module."""

from __future__ import annotations

import re
import sys
import types
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

PAGES = Path(__file__).parents[2] / "docs" / "howto"


def recipe_of(page: str, database: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> t.Any:
    """The module of a how-to page's first block.

    :param database: Name of its SQLite file, which is put into ``folder``.
    """
    path = PAGES / f"{page}.md"
    code = t.cast(
        "re.Match[str]", re.search(r"^```python\n(.*?)^```$", path.read_text(), re.S | re.M)
    )
    module = types.ModuleType(f"{page}_recipe")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    source = code[1].replace(f"sqlite:///{database}", f"sqlite:///{folder}/{database}")
    exec(compile(source, str(path), "exec"), module.__dict__)
    return module


def client_of(recipe: t.Any, user: str) -> Iterator[FlaskClient]:
    """A client of the recipe's application, logged in."""
    app = recipe.create_app()
    client = app.test_client()
    log_in(client, user)
    yield client
    with app.app_context():
        recipe.db.engine.dispose()


def log_in(client: FlaskClient, user: str) -> None:
    with client.session_transaction() as session:
        session["user"] = user
