"""Which store an application gets, and which it is refused."""

from __future__ import annotations

import os
import sys
import typing as t
from pathlib import Path

import pytest
from flask import Flask

from flask_aistream import AIStream
from flask_aistream.errors import ConfigError
from flask_aistream.stores.sqlite import tables
from tests.server.servers import free_port
from tests.server.servers import wait_for
from tests.stores.redis_server import RedisServer
from tests.workers.conftest import Connect
from tests.workers.conftest import Serve


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("guarded"), password="secret")
    yield server
    server.stop()


@pytest.mark.server
def test_several_workers_share_a_file_by_default(serve: Serve, connect: Connect) -> None:
    server = serve("gevent", 2)
    here, there = server.pids()
    started = connect(server, here).stream("/ai/silent", {"prompt": "?"})
    started.text("Well,")
    assert connect(server, there).call(f"/ai/runs/{started.run}/stop", {})["stopped"]
    wait_for(lambda: "share their runs in" in server.output(), "a line in the log")
    assert server.output().count("share their runs in") == 1


def test_a_password_is_used(guarded: RedisServer) -> None:
    register(guarded.url)


def test_a_wrong_password_is_reported_but_not_shown(guarded: RedisServer) -> None:
    with pytest.raises(ConfigError) as refused:
        register(guarded.url.replace("secret", "hunter2"))
    said = str(refused.value)
    assert said.startswith("AISTREAM_STORE is `redis://:***@127.0.0.1:")
    assert "password" in said
    assert "hunter2" not in said


def test_an_unreachable_server_is_reported() -> None:
    with pytest.raises(ConfigError, match=r"^AISTREAM_STORE is `redis://.*Connection refused"):
        register(f"redis://127.0.0.1:{free_port()}/0")


def test_a_missing_path_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^AISTREAM_STORE is `sqlite:.*unable to open"):
        register(f"sqlite:///{tmp_path}/missing/runs.sqlite")


def test_a_file_that_is_no_database_is_reported(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("not a database " * 100)
    with pytest.raises(ConfigError, match="not a database"):
        register(f"sqlite:///{tmp_path}/notes")


def test_a_file_of_a_newer_format_is_rejected(tmp_path: Path) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "runs.sqlite") as db:
        tables.make(db)
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(ConfigError, match=r"newer flask_aistream \(format 99, here \d+\)"):
        register(f"sqlite:///{tmp_path}/runs.sqlite")


@pytest.mark.parametrize("url", ["redis", "mysql://host/db", "sqlite://", "", 7])
def test_an_invalid_store_url_is_reported(url: t.Any) -> None:
    with pytest.raises(ConfigError, match=r"AISTREAM_STORE is .* but must be .*memory://"):
        register(url)


BAD = [
    ("redis://ann:hunter2@127.0.0.1:{port}/0", "invalid username-password pair"),
    ("redis://127.0.0.1:{port}/0?password=hunter2", "invalid username-password pair"),
    ("redis://127.0.0.1:{port}/0", "the server asks for a password"),
    ("redis://:hunter2/@127.0.0.1:{port}/0", "must be percent-encoded"),
    ("redis://:hunter2@[::1/0", "Invalid IPv6 URL"),
    ("redis://:hunter2@127.0.0.1:{port}/0?color=red", "color"),
    ("redis://:hunter2@no.such.host.invalid/0", "no.such.host.invalid"),
    ("rediss://:hunter2@127.0.0.1:{port}/0", "Timeout|EOF|SSL"),
    ("redis+cluster://:secret@127.0.0.1:{port}", "Cluster mode is not enabled"),
    ("redis+cluster://:hunter2@127.0.0.1:{free}", "Connection refused"),
    ("redis+sentinel://:hunter2@127.0.0.1:{free}/main", "No master found for 'main'"),
    ("redis+sentinel://127.0.0.1", "must name the service"),
    ("unix://:hunter2@/no/such.sock", "No such file"),
    ("mysql://root:hunter2@host/db", "must be `memory://`"),
    ("sqlite:////proc/runs.sqlite", "unable to open"),
    ("sqlite:////tmp", "unable to open"),
]


@pytest.mark.parametrize(("url", "cause"), BAD, ids=[url for url, _ in BAD])
def test_a_bad_url_is_refused_in_a_sentence_without_its_password(
    guarded: RedisServer, url: str, cause: str
) -> None:
    with pytest.raises(ConfigError, match=cause) as refused:
        register(url.format(port=guarded.port, free=free_port()))
    said = str(refused.value)
    assert said.startswith("AISTREAM_STORE is `")
    assert "hunter2" not in said
    assert "secret" not in said


def test_a_missing_package_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    # Another test may have imported what imports it.
    for name in [name for name in sys.modules if name.startswith("flask_aistream.stores.redis")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ConfigError, match=r"the package redis is not installed; `pip install"):
        register("redis://127.0.0.1/0")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_without_write_permission_is_reported(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(ConfigError, match="unable to open"):
        register(f"sqlite:///{tmp_path}/runs.sqlite")


def register(url: t.Any) -> None:
    app = Flask("refused")
    app.config["AISTREAM_STORE"] = url
    app.register_blueprint(AIStream(), url_prefix="/ai")
