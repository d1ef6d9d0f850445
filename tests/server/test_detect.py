"""Greenlets or threads."""

from __future__ import annotations

import gevent
import pytest

from flask_aistream.errors import ConfigError
from flask_aistream.server.detect import concurrency
from flask_aistream.server.threads import Threads


def test_an_unpatched_process_runs_on_threads() -> None:
    assert isinstance(concurrency(), Threads)


def test_gevent_without_its_patches_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"monkey\.patch_all\(\)"):
        gevent.spawn(concurrency).get()
