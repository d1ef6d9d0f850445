from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.left_open import collect_garbage
from tests.providers import collect


@pytest.fixture(scope="session", autouse=True)
def the_loop_is_closed() -> Iterator[None]:
    yield
    if collect.loop.cache_info().currsize:
        collect.close_loop()
    collect_garbage()
