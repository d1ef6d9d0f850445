"""What the README and the guides show is what the tested example application does."""

from __future__ import annotations

import importlib
import re
import types
import typing as t
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from example_app.manual.passages import ROOT
from flask_aistream import run_ended
from tests.server.servers import wait_for
from tests.upstream.server import Upstream

DOCUMENTS = [
    "README.md",
    "docs/quickstart.md",
    "docs/deploy.md",
    "docs/howto/existing-application.md",
]
SNIPPET = re.compile(r"^```(python|html|js|nginx)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")


def sources() -> list[str]:
    found = [
        path
        for path in (ROOT / "example_app").rglob("*")
        if path.suffix in SUFFIXES and not INSTALLED & set(path.parts)
    ]
    return [path.read_text("utf-8") for path in found]


INSTALLED = {"node_modules", "libraries"}
"""Folders that the set-up fills with packages."""

SUFFIXES = {".py", ".html", ".js", ".conf"}
SNIPPETS = [
    pytest.param(found[2], id=f"{name}-{number}")
    for name in DOCUMENTS
    for number, found in enumerate(SNIPPET.finditer((ROOT / name).read_text("utf-8")))
]


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_a_snippet_is_part_of_the_example_application(snippet: str) -> None:
    assert any(is_part(snippet, source) for source in sources())


def is_part(snippet: str, source: str) -> bool:
    """As it stands, or as the body of an indented block."""
    lines = [line.strip() for line in snippet.splitlines()]
    return "\n".join(lines) in "\n".join(line.strip() for line in source.splitlines())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_between_documents_lead_somewhere(name: str) -> None:
    for target, anchor in LINK.findall((ROOT / name).read_text("utf-8")):
        path = ((ROOT / name).parent / target).resolve() if target else ROOT / name
        assert path.is_file(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE)
            assert anchor in [
                re.sub(r"[^\w -]", "", it.lower()).replace(" ", "-") for it in headings
            ]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_configuration_key_that_is_named_exists(name: str) -> None:
    from flask_aistream.web.config import KEYS

    named = set(re.findall(r"AISTREAM_[A-Z_]*[A-Z]", (ROOT / name).read_text("utf-8")))
    assert named <= {key.name for key in KEYS}


def load(name: str, upstream: Upstream) -> types.ModuleType:
    """Import a module that makes a client of the environment, as somebody who has a key."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", "key")
        patch.setenv("OPENAI_BASE_URL", f"{upstream.url}/v1")
        return importlib.import_module(name)


def test_the_ten_lines_stream_an_answer(upstream: Upstream) -> None:
    client = load("example_app.quickstart", upstream).app.test_client()
    assert '{"text":"Hel"}' in client.post("/ai/chat", json={"prompt": "Hello"}).text


@pytest.fixture(scope="module")
def shop(upstream: Upstream) -> Iterator[types.ModuleType]:
    shop = load("example_app.existing", upstream)
    yield shop
    run_ended.disconnect(
        shop.bill
    )  # It hears of every run of the process, those of other tests too.


@pytest.fixture
def client(shop: types.ModuleType) -> FlaskClient:
    return t.cast(FlaskClient, shop.create_app().test_client())


def test_only_who_is_logged_in_may_ask(client: FlaskClient) -> None:
    assert client.post("/ai/search", json={"prompt": "hours"}).status_code == 401
    client.post("/login/bob")
    assert client.post("/ai/search", json={"prompt": "hours"}).status_code == 200
    assert client.post("/ai/search", json={"prompt": "hours", "model": "large"}).status_code == 403
    client.post("/login/ada")
    assert client.post("/ai/search", json={"prompt": "hours", "model": "large"}).status_code == 200


def test_the_run_of_another_owner_does_not_exist(client: FlaskClient) -> None:
    client.post("/login/bob")
    text = client.post("/ai/search", json={"prompt": "hours"}).text
    (run,) = re.findall(r'"run":"([^"]+)"', text)
    assert client.get(f"/ai/runs/{run}").status_code == 200
    client.post("/login/eve")
    assert client.get(f"/ai/runs/{run}").status_code == 404
    assert client.post(f"/ai/runs/{run}/stop").status_code == 404


def test_an_error_before_the_first_word_is_an_http_error(client: FlaskClient) -> None:
    client.post("/login/bob")
    response = client.post("/ai/search", json={"prompt": "unicorns"})
    assert response.status_code == 404
    assert response.json == {
        "error": {
            "code": "nothing_found",
            "message": "No page speaks of that.",
            "reference": response.headers["X-Request-ID"],
        }
    }


def test_an_async_provider_answers_and_is_billed(
    shop: types.ModuleType, client: FlaskClient
) -> None:
    client.post("/login/bob")
    shop.BILLS.clear()
    response = client.post("/ai/support", json={"prompt": "Hello"})
    assert '{"text":"Hel"}' in response.text
    wait_for(lambda: shop.BILLS, "the bill")
    ((owner, outcome, _, text),) = shop.BILLS
    assert (owner, outcome.reason, text) == ("bob", "stop", "Hello, world!")


def test_only_listed_origins_may_read(client: FlaskClient) -> None:
    client.post("/login/bob")
    allowed = client.post(
        "/ai/search", json={"prompt": "hours"}, headers={"Origin": "https://shop.example"}
    )
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    refused = client.post(
        "/ai/search", json={"prompt": "hours"}, headers={"Origin": "https://evil.example"}
    )
    assert refused.status_code == 403
    assert "Access-Control-Allow-Origin" not in refused.headers
