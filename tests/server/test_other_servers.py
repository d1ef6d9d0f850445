"""The table of ``docs/howto/other-servers.md`` is what these servers do."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.server.other_servers import SERVERS
from tests.server.other_servers import measure
from tests.server.other_servers import row
from tests.server.servers import ROOT

PAGE = ROOT / "docs" / "howto" / "other-servers.md"

pytestmark = [pytest.mark.server, pytest.mark.nightly, pytest.mark.timeout(240)]


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_does_what_its_row_says(name: str) -> None:
    server = SERVERS[name]
    if not server.installed:
        pytest.skip(f"{server.label} is not installed")
    # Not below pytest's own folder, which other users, as that of Apache, cannot enter.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        measured = row(server.label, measure(server, Path(folder)))
    assert measured in PAGE.read_text("utf-8"), measured
