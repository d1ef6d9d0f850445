from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import forkserver
from tests.server.servers import NO_CONTROL_SOCKET
from tests.server.servers import free_port
from tests.server.servers import wait_for

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NODE = HERE / "node_modules" / "node" / "bin" / "node"
LIMIT = 150
"""Time limit of a test, in seconds."""

Node = Callable[..., t.Any]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == HERE:
            item.add_marker(pytest.mark.server)
            item.add_marker(pytest.mark.timeout(LIMIT))


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of the blueprint in ``app.py``, served by gunicorn with a gevent worker."""
    with serving("tests.clients.app:create_app()", tmp_path_factory.mktemp("server")) as address:
        yield f"{address}/ai"


@contextlib.contextmanager
def serving(app: str, folder: Path) -> Iterator[str]:
    """Serve ``app``, importable from ``folder`` or the repository → its address."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "-k", "gevent", "--graceful-timeout", "1"]
    place = [*NO_CONTROL_SOCKET, "-b", f"127.0.0.1:{port}", app]
    log = folder / "output"
    with log.open("wb") as output:
        process = forkserver.start(
            [*command, *place],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            output=output,
        )
        try:
            wait_for(lambda: answers(port) or process.poll() is not None, "gunicorn to answer", 60)
            assert process.poll() is None, log.read_text()
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


def answers(port: int) -> bool:
    import socket

    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="session")
def javascript() -> None:
    """Install the JavaScript clients."""
    done = subprocess.run([str(HERE / "setup.sh")], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def node(url: str, javascript: None) -> Node:
    """Run a script of ``node/`` with the server's URL and arguments → the JSON that it prints."""

    def run(script: str, **arguments: t.Any) -> t.Any:
        arguments_json = json.dumps({"url": url, **arguments})
        command = [str(NODE), str(HERE / "node" / f"{script}.mjs"), arguments_json]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=LIMIT - 5, cwd=HERE
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout.strip().rpartition("\n")[2])

    return run
