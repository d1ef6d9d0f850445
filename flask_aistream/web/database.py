"""The connection that a provider's session of Flask-SQLAlchemy holds.

A session keeps its connection from its first query to the end of its transaction, so a provider that read one row and
then streams holds one for the whole run. It is released only for providers that ask for it: nothing else may end a
transaction of the application.
"""

from __future__ import annotations

import logging
import typing as t
import weakref
from collections.abc import Callable

from flask import Flask
from flask import current_app

from flask_aistream.errors import RegistrationError
from flask_aistream.timing.timer import Timer

logger = logging.getLogger("flask_aistream")

SQLALCHEMY = "sqlalchemy"
"""Name of Flask-SQLAlchemy among an application's extensions."""

LONG_SECONDS = 5.0
"""Time after the first event from which on a held connection is logged."""

CURE = (
    "@ai.provider(release_db=True) commits the session and releases its connection when the first event is written. Or "
    "call db.session.commit() or db.session.remove() before the first yield."
)


class ProviderSessions:
    """The sessions of an application's providers, in one process."""

    def __init__(self, app: Flask, timer: Timer) -> None:
        self._app = app
        self._timer = timer
        self._logged = False

    def on_first_event(self, provider: str, *, release: bool) -> Callable[[], None] | None:
        """What a provider of this name calls, in its context, before its first event; ``None``: nothing.

        :param release: ``@ai.provider(release_db=True)``.
        """
        if release:
            return release_session
        if SQLALCHEMY not in self._app.extensions or self._logged:
            return None
        return lambda: self._watch(provider)

    def _watch(self, provider: str) -> None:
        session = current_session()
        if session is not None and session.in_transaction():
            held = weakref.ref(session)
            self._timer.call_later(LONG_SECONDS, lambda: self._check(provider, held))

    def _check(self, provider: str, held: weakref.ref[t.Any]) -> None:
        session = held()
        if session is None or self._logged or not session.in_transaction():
            return
        self._logged = True
        logger.warning(
            "The provider %r holds a database connection while it streams; runs that stream at once use up the pool. "
            "%s This is logged once.",
            provider,
            CURE,
        )


def release_session() -> None:
    """Commit the session of the current context, which returns its connection to the pool.

    Its objects keep the values that were loaded. A later query takes a connection again.

    :raises RegistrationError: The application does not use Flask-SQLAlchemy.
    """
    if SQLALCHEMY not in current_app.extensions:
        raise RegistrationError(
            "The provider has release_db=True, but the application does not use Flask-SQLAlchemy."
        )
    session = current_session()
    if session is None:
        return
    expires, session.expire_on_commit = session.expire_on_commit, False
    try:
        session.commit()
    finally:
        session.expire_on_commit = expires


def log_cure(error: BaseException) -> None:
    """Name the cure, if an exception says that all connections of a pool are held."""
    if type(error).__module__ == "sqlalchemy.exc" and "QueuePool limit" in str(error):
        logger.warning(
            "All database connections are held, perhaps by providers that stream. %s", CURE
        )


def current_session() -> t.Any:
    """The session of the current application context; ``None`` if it has not been used."""
    sessions = current_app.extensions[SQLALCHEMY].session
    return sessions() if sessions.registry.has() else None
