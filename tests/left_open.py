"""What vendors' SDKs leave open: idle connections, in pools that nobody closes.

The garbage collector complains of them in whatever test runs then. Where tests use SDKs in their own
process, nobody complains meanwhile, and each module drops what it left.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

USERS = ("providers", "example")
"""Folders of tests that use SDKs in their own process."""


def uses_sdks(path: Path) -> bool:
    return path.parent.name in USERS


def may_be_left(items: list[pytest.Item]) -> None:
    for item in items:
        if uses_sdks(item.path):
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed <:ResourceWarning"))


@pytest.fixture(scope="module", autouse=True)
def what_was_left_open_is_dropped_here(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if uses_sdks(request.path):
        drop()


def drop() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
