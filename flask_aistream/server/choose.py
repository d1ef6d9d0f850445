"""Greenlets or threads: whatever this process runs on."""

from __future__ import annotations

import sys
import typing as t

if t.TYPE_CHECKING:
    from flask_aistream.server.greenlets import Greenlets
    from flask_aistream.server.threads import Threads


def patched_by_gevent() -> bool:
    """Whether gevent has patched this process, as gunicorn's gevent workers do."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("socket"))


def concurrency() -> Greenlets | Threads:
    """How this process does several things at once. Ask after the fork, not before."""
    if patched_by_gevent():
        from flask_aistream.server.greenlets import Greenlets

        return Greenlets()
    from flask_aistream.server.threads import Threads

    return Threads()
