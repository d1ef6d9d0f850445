"""Whether this process runs on gevent or on threads."""

from __future__ import annotations

import sys
import typing as t

from flask_aistream.errors import ConfigError

if t.TYPE_CHECKING:
    from flask_aistream.server.greenlets import Greenlets
    from flask_aistream.server.threads import Threads


def patched_by_gevent() -> bool:
    """Whether gevent has patched this process, as gunicorn's gevent workers do."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("socket"))


def served_by_gevent() -> bool:
    """Whether the caller is a greenlet, as a request is under gevent's own server."""
    gevent = sys.modules.get("gevent")
    return gevent is not None and isinstance(gevent.getcurrent(), gevent.Greenlet)


def concurrency() -> Greenlets | Threads:
    """The concurrency of this process. Call it after the fork.

    :raises ConfigError: gevent serves the process but has not patched it.
    """
    if patched_by_gevent():
        from flask_aistream.server.greenlets import Greenlets

        return Greenlets()
    if served_by_gevent():
        raise ConfigError(
            "gevent serves this process but has not patched it, so one stream that waits would block all "
            "others. Begin the program with `from gevent import monkey; monkey.patch_all()`, or start it "
            "with gunicorn -k gevent, which does that."
        )
    from flask_aistream.server.threads import Threads

    return Threads()
