"""The fixture: ``from tests.upstream.fixture import upstream`` in a ``conftest.py``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.upstream.server import Upstream


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    """A local model vendor, shared by the session; ask it for ``exchanges`` by model and number."""
    with Upstream() as server:
        yield server
