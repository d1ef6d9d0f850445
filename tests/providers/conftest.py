"""The upstream that the SDKs talk to, and an end to what they leave open."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator

import pytest

from tests.providers import drain
from tests.upstream.fixture import upstream

__all__ = ["upstream"]


@pytest.fixture(scope="session", autouse=True)
def sdks_are_dropped() -> Iterator[None]:
    """SDKs keep idle connections in pools that nobody closes; their warnings would fail the session."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if drain.loop.cache_info().currsize:
            drain.loop().close()
            drain.loop.cache_clear()
        gc.collect()
