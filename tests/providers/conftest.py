"""An end to what the SDKs leave open."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator

import pytest

from tests.providers import drain


@pytest.fixture(scope="module", autouse=True)
def what_sdks_left_open_is_dropped_here() -> Iterator[None]:
    """They keep idle connections in pools that nobody closes. The garbage collector would complain of
    them in whatever test runs then."""
    yield
    dropped()


@pytest.fixture(scope="session", autouse=True)
def the_loop_is_closed() -> Iterator[None]:
    yield
    if drain.loop.cache_info().currsize:
        drain.loop().close()
        drain.loop.cache_clear()
    dropped()


def dropped() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()
