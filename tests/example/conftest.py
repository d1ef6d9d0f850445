"""The example application as visitors meet it: real servers, and a page in a browser."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome

from tests.example.chat import Chat
from tests.example.serving import Gunicorn
from tests.network import Proxy
from tests.server.servers import ROOT
from tests.upstream.server import Upstream

# 1.2 s of numbers: long enough to be interrupted by whatever a test does, short enough to wait for.
STORY = "count-80-15"
SAID = "".join(f"{number} " for number in range(80))


@pytest.fixture(scope="session")
def libraries() -> None:
    """What the pages draw Markdown with; installed once."""
    subprocess.run([ROOT / "tools" / "libraries.sh"], check=True)
    assert (ROOT / "example_app/static/libraries/markdown-it.js").exists(), "npm is needed"


@pytest.fixture(scope="session")
def offline() -> Iterator[Gunicorn]:
    """The application without a key."""
    server = Gunicorn()
    yield server
    server.close()


@pytest.fixture(scope="session")
def counting(upstream: Upstream) -> Iterator[Gunicorn]:
    """The application with a model that counts to 79."""
    server = Gunicorn({"OPENAI_BASE_URL": f"{upstream.url}/v1", "OPENAI_MODEL": STORY})
    yield server
    server.close()


@pytest.fixture(scope="session")
def silent(upstream: Upstream) -> Iterator[Gunicorn]:
    """The application with a model that counts to 19 and then thinks for ever."""
    environ = {"OPENAI_BASE_URL": f"{upstream.url}/v1", "OPENAI_MODEL": "silent-after-20"}
    server = Gunicorn(environ)
    yield server
    server.close()


@pytest.fixture
def proxy(counting: Gunicorn) -> Iterator[Proxy]:
    """A bad network between the browser and ``counting``."""
    proxy = Proxy(counting.port)
    yield proxy
    proxy.close()


@pytest.fixture
def chat(browser: Chrome) -> Iterator[Chat]:
    """The chat page; ``open`` it at a server."""
    chat = Chat(browser)
    yield chat
    chat.leave()
