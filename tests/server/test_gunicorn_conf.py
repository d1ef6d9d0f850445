"""Ready-made settings for gunicorn."""

from __future__ import annotations

import resource
import runpy
import subprocess
import sys
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
from gunicorn.config import Config

from flask_aistream import gunicorn_conf
from tests.server.servers import ALL
from tests.server.servers import APP
from tests.server.servers import ROOT
from tests.server.servers import Server
from tests.server.wire import Stream
from tests.server.wire import end_of

CONF = ("-c", "python:flask_aistream.gunicorn_conf")
HELPERS = {"annotations", "os", "resource", "Path", "cores", "allow_files"}


def test_gunicorn_knows_every_setting() -> None:
    settings = Config().settings
    ours = {name for name in vars(gunicorn_conf) if not name.startswith("_") and name.islower()}
    assert ours - HELPERS <= settings.keys()
    for name in ours - HELPERS:
        settings[name].set(getattr(gunicorn_conf, name))


def test_the_command_line_wins() -> None:
    told = printed("--workers", "3", "--graceful-timeout", "7")
    assert (told["workers"], told["graceful_timeout"]) == ("3", "7")
    assert (told["worker_class"], told["keepalive"]) == ("gevent", "5")


@pytest.mark.server
def test_streams_are_served_with_it(conf_server: Server) -> None:
    streams = [
        Stream(conf_server.url, "/ai/count", {"prompt": "?", "n": 20, "pause": 0.01})
        for _ in range(4)
    ]
    for stream in streams:
        assert end_of(stream.rest()[1]) == "stop"
    assert "Warning" not in conf_server.output()


@pytest.fixture
def conf_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        *CONF,
        "-w",
        "2",
        "-b",
        "127.0.0.1:{port}",
        "{app}",
    ]
    monkeypatch.setitem(ALL, "ready-made", command)
    server = Server(
        "ready-made", tmp_path / "facts.jsonl", APP_AISTREAM_STORE=f"sqlite:///{tmp_path}/s.sqlite"
    )
    server.wait_ready()
    yield server
    server.stop()


QUOTAS = [("max 100000", 8), ("200000 100000", 2), ("50000 100000", 1), ("what?", 8), (None, 8)]


@pytest.mark.parametrize(("told", "cores"), QUOTAS)
def test_a_container_is_as_large_as_it_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str | None, cores: int
) -> None:
    quota = tmp_path / "cpu.max"
    if told is not None:
        quota.write_text(told)
    monkeypatch.setattr(gunicorn_conf, "CPU_LIMIT", quota)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)))
    assert gunicorn_conf.cores() == cores


LIMITS = [
    # soft, hard, then asked for, connections
    (1024, 4096, (4096, 4096), 1948),
    (1024, resource.RLIM_INFINITY, (65_536, resource.RLIM_INFINITY), 10_000),
    (1024, 1024, None, 412),
    (100_000, 1_000_000, None, 10_000),
    (resource.RLIM_INFINITY, resource.RLIM_INFINITY, None, 10_000),
]


@pytest.mark.parametrize(("soft", "hard", "asked", "connections"), LIMITS)
def test_there_are_files_for_every_connection(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, asked: t.Any, connections: int
) -> None:
    set_to: list[t.Any] = []
    monkeypatch.setattr(resource, "getrlimit", lambda what: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda what, limits: set_to.append(limits))
    found = runpy.run_path(gunicorn_conf.__file__)
    assert found["worker_connections"] == connections
    assert set_to == ([asked] if asked else [])


def printed(*options: str) -> dict[str, str]:
    """gunicorn's settings as it reports them."""
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        *CONF,
        *options,
        "--print-config",
        APP,
    ]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    pairs = (line.split("=", 1) for line in said.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, value in pairs}
