"""Suppress ResourceWarnings for connections that vendors' SDKs leave in their pools.

The garbage collector would raise them in an unrelated test. In folders whose tests use SDKs in their own process
the warnings are ignored, and the connections are collected after each module.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

SDK_FOLDERS = ("clients", "example", "providers", "upstream")
"""Folders whose tests use SDKs in their own process."""


def uses_sdks(path: Path) -> bool:
    return path.parent.name in SDK_FOLDERS


def allow_left_open(items: list[pytest.Item]) -> None:
    for item in items:
        if uses_sdks(item.path):
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed <:ResourceWarning"))


@pytest.fixture(scope="module", autouse=True)
def drop_left_open(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if uses_sdks(request.path):
        collect_garbage()


def collect_garbage() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
