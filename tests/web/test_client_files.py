"""The modules of the JavaScript client are served so that no page mixes two versions."""

from __future__ import annotations

import gzip
import re

import pytest
from flask.testing import FlaskClient

from flask_aistream.web.client_files import STATIC
from flask_aistream.web.client_files import client_files

IMPORT = re.compile(r"""(?:from|import) "\.{1,2}/(?:aistream/)?([^"]+)""")


def test_the_client_is_one_file_with_all_that_it_imports() -> None:
    text = client_files()["aistream.js"].content.decode()
    assert not re.search(r"^import | from ", text, re.MULTILINE)
    for name in ("class Run ", "class EventStreamParser{", "export function stream("):
        assert text.count(name) == 1


def test_what_other_modules_import_is_served(client: FlaskClient) -> None:
    wanted = {
        name for file in client_files().values() for name in IMPORT.findall(file.content.decode())
    }
    assert wanted
    for name in wanted:
        url = "/ai/static/aistream.js" if name == "aistream.js" else f"/ai/static/aistream/{name}"
        assert client.get(url).status_code == 200


@pytest.mark.parametrize("path", ["/ai/static/aistream.js", "/ai/static/aistream/run.js"])
def test_a_module_is_compressed_and_revalidated(client: FlaskClient, path: str) -> None:
    plain = client.get(path)
    packed = client.get(path, headers={"Accept-Encoding": "gzip, br"})
    assert (plain.status_code, plain.mimetype) == (200, "text/javascript")
    assert gzip.decompress(packed.data) == plain.data
    assert packed.headers["Content-Encoding"] == "gzip"
    for response in (plain, packed):
        assert response.headers["Cache-Control"] == "no-cache"
        assert "Accept-Encoding" in response.headers["Vary"]
    assert plain.headers["ETag"] != packed.headers["ETag"]
    again = client.get(path, headers={"If-None-Match": plain.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.js", "../web/routes.py", "events.d.ts"])
def test_nothing_else_is_served_as_a_module(client: FlaskClient, name: str) -> None:
    assert client.get(f"/ai/static/aistream/{name}").status_code in (404, 405)


def test_comments_stay_in_the_package() -> None:
    run = client_files()["aistream/run.js"].content.decode()
    assert not re.search(r"^\s*(//|/\*|\*)", run, re.MULTILINE)
    assert len(run) < (STATIC / "aistream/run.js").stat().st_size
