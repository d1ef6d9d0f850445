"""Caddy with the configuration of ``docs/deploy/caddy.md``, and without its exception from compression."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest

from tests.doctor.app import create_app
from tests.doctor.here import diagnosed_at
from tests.doctor.here import served
from tests.server.servers import ROOT
from tests.server.servers import accepts
from tests.server.servers import free_port
from tests.server.servers import wait_for

PAGE = ROOT / "docs" / "deploy" / "caddy.md"
EXCEPTION = "@compressible not path /ai/*"


def configuration() -> str:
    return t.cast(
        "re.Match[str]", re.search(r"^```text\n(.*?)^```$", PAGE.read_text(), re.S | re.M)
    )[1]


@pytest.mark.server
@pytest.mark.nightly
@pytest.mark.parametrize(
    ("removed", "found"),
    [("", []), (EXCEPTION, ["compression"])],
    ids=["the page", "without exception"],
)
def test_the_configuration_of_the_page_is_healthy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removed: str, found: list[str]
) -> None:
    # Caddy does not compress a response whose first bytes are fewer than 512.
    monkeypatch.setattr("flask_aistream.web.diagnosis.FRAME_BYTES", 1000)
    program = shutil.which("caddy")
    assert program is not None, "Caddy is not installed: apt-get install caddy"
    app, port = create_app(""), free_port()
    with served(app) as target:
        text = configuration().replace("127.0.0.1:8080", f"127.0.0.1:{target}")
        assert EXCEPTION in text
        if removed:
            text = text.replace(removed, "").replace("@compressible ", "")
        file = tmp_path / "Caddyfile"
        file.write_text(
            "{\n    admin off\n}\n" + text.replace("shop.example", f"http://127.0.0.1:{port}")
        )
        output = open(tmp_path / "output", "wb")
        environ = {**os.environ, "HOME": str(tmp_path)}
        command = [program, "run", "--config", str(file), "--adapter", "caddyfile"]
        caddy = subprocess.Popen(command, env=environ, stdout=output, stderr=output)
        try:
            wait_for(lambda: accepts(port), "Caddy to listen")
            findings = diagnosed_at(f"http://127.0.0.1:{port}/ai", app, 3.0)
        finally:
            caddy.terminate()
            caddy.wait()
            output.close()
    assert [it.check for it in findings] == found, findings
