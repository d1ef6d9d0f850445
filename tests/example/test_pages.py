"""The pages as a server gives them out."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from example_app import create_app
from tests.example.serving import environ_in


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    folder = tmp_path_factory.mktemp("data")
    return create_app(environ_in(folder)).test_client()


@pytest.mark.parametrize("path", ["/", "/plain", "/manual/README.md", "/manual/nothing.md"])
def test_the_policy_allows_nothing_inline_and_nobody_else(client: FlaskClient, path: str) -> None:
    headers = client.get(path, headers={"Host": "127.0.0.1:8080"}).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert not {"'unsafe-inline'", "'unsafe-eval'", "*", "http:", "https:"} & set(policy.split())


def test_the_plain_page_asks_the_server_it_came_from(client: FlaskClient) -> None:
    text = client.get("/plain", headers={"Host": "example.org:81"}).text
    assert 'new EventSource("http://example.org:81/stream")' in text


def test_sources_can_be_read(client: FlaskClient) -> None:
    assert "# flask_aistream" in client.get("/manual/README.md").text
    assert "Cursor" in client.get("/manual/flask_aistream/core/cursor.py").text


HIDDEN = [
    "setup.cfg",
    "example_app/pages.py",
    "../README.md",
    "%2e%2e/README.md",
    "/etc/passwd",
    ".git/config",
]


@pytest.mark.parametrize("name", HIDDEN)
def test_only_sources_can_be_read(client: FlaskClient, name: str) -> None:
    assert client.get(f"/manual/{name}").status_code in (308, 404)


def test_a_question_is_escaped_and_a_model_named(client: FlaskClient) -> None:
    text = client.get("/").text
    assert "Offline: quotes this project&#39;s documentation" in text
    assert "What happens when the connection is lost?" in text


def test_only_the_demo_has_a_playground(tmp_path: Path) -> None:
    demo = create_app({"EXAMPLE_PLAYGROUND": "1", **environ_in(tmp_path)}).test_client()
    public = create_app(environ_in(tmp_path)).test_client()
    for path in ("/ai/playground", "/playground"):
        assert (demo.get(path).status_code, public.get(path).status_code) == (200, 404)
    link = 'href="/ai/playground"'
    assert (link in demo.get("/").text, link in public.get("/").text) == (True, False)
    runs = "/ai/playground/api/runs"
    assert demo.get(runs).get_json()["operator"]
    assert not demo.get(runs, environ_overrides={"REMOTE_ADDR": "10.0.0.7"}).get_json()["operator"]
