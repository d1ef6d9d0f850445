"""Modules of test dependencies that are imported when a test first uses them.

Every test process collects all tests, but only one of them runs the tests of an SDK, whose import takes up to a second.
"""

from __future__ import annotations

import importlib
import typing as t


class LazyModule:
    """Stands for the module ``name`` and imports it at the first access to a public attribute."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> t.Any:
        if attribute.startswith("_"):  # pytest looks for its own marks while it collects.
            raise AttributeError(attribute)
        return getattr(importlib.import_module(self._name), attribute)
