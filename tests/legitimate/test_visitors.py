"""Many visitors of one address, on a bad network, behind the documented nginx, with the default limits."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.legitimate.app import WORDS
from tests.legitimate.visitor import Visitor
from tests.nginx import running_nginx
from tests.server.servers import ROOT
from tests.server.servers import Server

pytestmark = [pytest.mark.server, pytest.mark.timeout(200)]

APP = "tests.legitimate.app:create_app()"
CUTS = 10

SNIPPET = re.compile(r"^```nginx\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@contextmanager
def nginx(folder: Path, target: int) -> Iterator[int]:
    """nginx as the deployment page configures it, before the server on a port."""
    limits, location = SNIPPET.findall((ROOT / "docs/deploy.md").read_text("utf-8"))
    location = location.replace("127.0.0.1:8080", f"127.0.0.1:{target}")
    with running_nginx(folder, location, limits) as port:
        yield port


def visit(port: int, count: int) -> list[Visitor]:
    async def all_of_them() -> list[Visitor]:
        return await asyncio.gather(*(Visitor(port, CUTS).visit() for _ in range(count)))

    return asyncio.run(all_of_them())


VISITS = [
    pytest.param(20, 1, {"APP_AISTREAM_RETRY_SECONDS": 0.05}, id="20 visitors"),
    pytest.param(200, 2, {}, id="200 visitors", marks=pytest.mark.nightly),
]


@pytest.mark.parametrize(("count", "workers", "config"), VISITS)
def test_everybody_gets_the_whole_answer_of_one_call(
    tmp_path: Path, count: int, workers: int, config: dict[str, float]
) -> None:
    store = f"sqlite:///{tmp_path / 'runs.sqlite'}" if workers > 1 else "memory://"
    options = ("-w", str(workers))
    facts = tmp_path / "facts.jsonl"
    server = Server("gevent", facts, app=APP, options=options, APP_AISTREAM_STORE=store, **config)
    try:
        server.wait_ready()
        with nginx(tmp_path, server.port) as port:
            visitors = visit(port, count)
        assert {visitor.text for visitor in visitors} == {"".join(WORDS)}
        assert all(visitor.closed for visitor in visitors)
        assert [dict(visitor.statuses) for visitor in visitors] == [{200: CUTS + 1}] * count
        assert len(server.facts("called")) == count
    finally:
        server.stop()
    assert "Traceback" not in (tmp_path / "facts.out").read_text("utf-8")
