"""Where providers are called: in the web process, or in a worker that takes runs from a queue."""

from __future__ import annotations

import typing as t
from collections.abc import Callable

from flask import Flask

from flask_aistream.core.events import Terminal
from flask_aistream.core.run import read_ticket
from flask_aistream.errors import ConfigError
from flask_aistream.errors import RegistrationError
from flask_aistream.web import celery
from flask_aistream.web.config import Settings
from flask_aistream.web.registry import RegisteredProvider
from flask_aistream.web.store import MEMORY

if t.TYPE_CHECKING:
    from flask_aistream.web.extension import Extension

Enqueue = Callable[[str], object]
"""Puts a ticket (see :func:`read_ticket`) where a worker will find it. Raises where it cannot."""


def choose_executor(app: Flask, settings: Settings, ext: Extension) -> Enqueue | None:
    """Who puts the application's runs into a queue; ``None``: they are made where they are started.

    :raises ConfigError: The queue is not there, or its workers could not see the runs.
    """
    executor = settings.executor
    if executor in (None, "local"):
        return None
    if settings.store is None or settings.store.startswith(MEMORY):
        raise ConfigError(
            f"AISTREAM_EXECUTOR is `{executor!r}`, so runs are made in other processes, which must share "
            f"the store; but AISTREAM_STORE is `{settings.store!r}`. Set it to redis://…, or on one "
            "machine to sqlite:////path."
        )
    if executor == "celery":
        return celery.queue_of(app, lambda ticket: execute(ext, ticket))
    return in_context(app, t.cast(Enqueue, executor))


def in_context(app: Flask, enqueue: Enqueue) -> Enqueue:
    def enqueue_in_context(ticket: str) -> None:
        with app.app_context():
            enqueue(ticket)

    return enqueue_in_context


def execute(ext: Extension, ticket: str) -> Terminal | None:
    """Make a queued run in this process, until it has ended and that is told.

    :returns: How it ended; ``None``: it is not to be made (any more), or somebody else makes it.
    :raises ValueError: This is no ticket.
    """
    return ext.process.runner.execute(*read_ticket(ticket))


def refuse_immovable(entry: RegisteredProvider, ext: Extension) -> None:
    """Refuse a provider that cannot be called in another process, where that is to be done.

    :raises RegistrationError: It wants a request, or its name does not tell which one it is.
    """
    if ext.enqueue is None:
        return
    if entry.context == "request":
        raise RegistrationError(
            f'The provider {entry.name!r} has context="request", but AISTREAM_EXECUTOR makes runs in '
            'processes that have no request. Register it with context="app".'
        )
    if len({ai for ai in ext.blueprints.values() if entry.name in ai.provider_names}) > 1:
        raise RegistrationError(
            f"Two blueprints have a provider {entry.name!r}, but AISTREAM_EXECUTOR makes runs in "
            "processes that know only this name. Give one of them another."
        )
