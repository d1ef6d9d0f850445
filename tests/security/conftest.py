from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.security.baseline import Attacked
from tests.server.servers import Server


@pytest.fixture(scope="session")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    """One gunicorn worker with gevent for all attacks."""
    facts = tmp_path_factory.mktemp("attacked") / "facts.jsonl"
    server = Server(
        "gevent",
        facts,
        app="tests.security.app:create_app()",
        options=("--worker-connections", "12000", "--backlog", "4096"),
        APP_AISTREAM_RETAIN_SECONDS=1,
        APP_AISTREAM_DETACH_SECONDS=0.5,
        APP_AISTREAM_SEND_SECONDS=4,
        APP_AISTREAM_BODY_SECONDS=2,
    )
    server.wait_ready()
    yield Attacked(server)
    server.stop()
