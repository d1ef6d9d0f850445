"""Real deployments, broken in sixteen ways or healthy in four: doctor names the fault, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from collections.abc import Iterator
from contextlib import ExitStack
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

import pytest
from click.testing import CliRunner
from flask.cli import FlaskGroup

from tests.doctor.nginx import GOOD
from tests.doctor.nginx import HTTP_1_1
from tests.doctor.nginx import WHOLE_BODIES
from tests.doctor.nginx import running_proxies
from tests.lazy import LazyModule
from tests.server.servers import NO_CONTROL_SOCKET
from tests.server.servers import ROOT
from tests.server.servers import accepts
from tests.server.servers import free_port
from tests.server.servers import wait_for
from tests.stores.redis_server import RedisServer

if t.TYPE_CHECKING:
    from tests.doctor import app as shop
else:
    shop = LazyModule("tests.doctor.app")

APP = "tests.doctor.app:create_app()"
GUNICORN = (sys.executable, "-m", "gunicorn", *NO_CONTROL_SOCKET, "-b", "127.0.0.1:{port}")
GEVENT = (*GUNICORN, "-k", "gevent", "-w", "2", APP)
WSGI_SERVER = (
    "from gevent.pywsgi import WSGIServer; from tests.doctor.app import create_app; "
    "WSGIServer(('127.0.0.1', {port}), create_app(), log=None).serve_forever()"
)
TO_ASGI = (
    "import uvicorn; from asgiref.wsgi import WsgiToAsgi; from tests.doctor.app import create_app; "
    "uvicorn.run(WsgiToAsgi(create_app()), port={port}, log_level='error')"
)


@dataclass(frozen=True)
class Deployment:
    """One row.

    :param found: The check that finds its fault; empty for a healthy one.
    :param nginx: Lines of its configuration; ``None`` without nginx in front.
    :param host: ``0.0.0.0`` reaches this machine and is no local name.
    """

    found: str
    fault: str = ""
    command: tuple[str, ...] = GEVENT
    config: dict[str, t.Any] = field(default_factory=dict)
    nginx: str | None = None
    redis: tuple[str, ...] | None = None
    host: str = "127.0.0.1"
    options: tuple[str, ...] = ()
    needs: str = "gunicorn"


DEPLOYMENTS = {
    "one process": Deployment("", command=(*GUNICORN, "-k", "gevent", APP)),
    "behind nginx": Deployment("", nginx=GOOD),
    "threads": Deployment("", command=(*GUNICORN, "-k", "gthread", "--threads", "9", APP)),
    "Redis behind nginx": Deployment("", nginx=GOOD, redis=()),
    "gevent without patches": Deployment("gevent", command=(sys.executable, "-c", WSGI_SERVER)),
    "sync worker": Deployment("sync worker", command=(*GUNICORN, "-k", "sync", APP)),
    "WsgiToAsgi": Deployment("wrapper", command=(sys.executable, "-c", TO_ASGI), needs="asgiref"),
    "a memory each": Deployment("memory store", config={"AISTREAM_STORE": "memory://"}),
    "Redis evicts": Deployment(
        "store", redis=("--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru")
    ),
    "grpc": Deployment("blocking package", "grpc"),
    "nginx buffers": Deployment(
        "buffering",
        # Over HTTP/1.0: nginx passes on the chunks of HTTP/1.1 as they come.
        nginx=WHOLE_BODIES + "proxy_ignore_headers X-Accel-Buffering;",
    ),
    "nginx compresses": Deployment(
        "compression",
        nginx=GOOD + "gzip on; gzip_min_length 0; gzip_types text/event-stream;",
    ),
    "nginx gives up": Deployment("timeout", nginx=GOOD + "proxy_read_timeout 1s;"),
    "no ProxyFix": Deployment("ProxyFix", "no proxy fix", nginx=GOOD),
    "origin not listed": Deployment(
        "CORS",
        config={"AISTREAM_CORS_ORIGINS": ["https://other.example"]},
        options=("--origin", "https://pages.example"),
    ),
    "CSRF tokens": Deployment("CSRF", "csrf"),
    "small pool": Deployment("database pool", "pool"),
    "parsed chunks": Deployment("parsed chunks", "parsed chunks"),
    "nginx refuses bodies": Deployment("body size", nginx=HTTP_1_1),
    "debug and HTTP/1": Deployment("debug HTTP/2", "debug", host="0.0.0.0"),
}


@contextmanager
def running(deployment: Deployment, folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Its URL, and the environment of its processes."""
    with ExitStack() as ended:
        config = dict(deployment.config)
        if deployment.redis is not None:
            server = RedisServer(folder, *deployment.redis)
            ended.callback(server.stop)
            config["AISTREAM_STORE"] = server.url
        elif "AISTREAM_STORE" not in config and "2" in deployment.command:
            config["AISTREAM_STORE"] = f"sqlite:///{folder}/runs.sqlite"
        environ = {**os.environ, "FAULT": deployment.fault, "CONFIG": json.dumps(config)}
        port = started(ended, [*deployment.command], folder / "server", environ)
        url = f"http://{deployment.host}:{port}"
        if deployment.nginx is not None:
            locations = {"/": (port, deployment.nginx)}
            url = ended.enter_context(running_proxies(folder, locations))
        yield f"{url}/ai", environ


def started(ended: ExitStack, command: list[str], output: Path, environ: dict[str, str]) -> int:
    """Start a server, and return the port at which it listens."""
    port = free_port()
    file = ended.enter_context(open(output, "wb"))
    process = subprocess.Popen(
        [word.format(port=port) if "{port}" in word else word for word in command],
        cwd=ROOT,
        env=environ,
        stdout=file,
        stderr=file,
    )
    ended.callback(process.wait)
    ended.callback(process.terminate)

    def listens() -> bool:
        assert process.poll() is None, output.read_text()
        return accepts(port)

    wait_for(listens, f"{command[2]} to listen")
    return port


def diagnosed(url: str, environ: dict[str, str], *options: str) -> list[str]:
    command = (sys.executable, "-m", "flask", "--app", "tests.doctor.app", "aistream", "doctor")
    result = subprocess.run(
        [*command, url, "--json", *options],
        cwd=ROOT,
        env=environ,
        check=False,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert result.stdout, result.stderr
    findings = json.loads(result.stdout)
    assert result.returncode == int(bool(findings))
    return [finding["check"] for finding in findings]


@pytest.mark.server
@pytest.mark.nightly
@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_doctor_names_the_fault_of_a_deployment_and_nothing_else(name: str, tmp_path: Path) -> None:
    deployment = DEPLOYMENTS[name]
    pytest.importorskip(deployment.needs)
    with running(deployment, tmp_path) as (url, environ):
        found = diagnosed(url, environ, *deployment.options)
    assert " ".join(found) == deployment.found


def test_a_store_that_does_not_answer_is_named() -> None:
    config = json.dumps({"AISTREAM_STORE": "redis://127.0.0.1:1/0"})
    arguments = ["--app", "tests.doctor.app", "aistream", "doctor"]
    result = CliRunner().invoke(FlaskGroup(), arguments, env={"CONFIG": config})
    assert result.exit_code == 1
    assert "AISTREAM_STORE is `redis://127.0.0.1:1/0`, which cannot be opened" in result.output


@pytest.mark.parametrize("path", ["/ai/health/process", "/ai/health/stream", "/ai/health/body"])
@pytest.mark.parametrize("token", [None, "", "forged"])
def test_the_routes_of_doctor_do_not_exist_for_anybody_else(path: str, token: str | None) -> None:
    client = shop.create_app("").test_client()
    headers = {} if token is None else {"AIStream-Doctor": token}
    method = "POST" if path.endswith("body") else "GET"
    assert client.open(path, method=method, headers=headers).status_code == 404
